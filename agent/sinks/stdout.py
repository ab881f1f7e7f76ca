"""Prints the present state as Prometheus text: for a look, a pipe, a textfile collector."""

from __future__ import annotations

import sys
from typing import BinaryIO

import anyio.to_thread

from agent import model
from agent.model import Accepted, Misconfigured, Outcome, Retry, Snapshot
from agent.plugin import Context, Policy, SinkOptions

PROTOCOL = model.Protocol.TEXT
ENCODING = model.Encoding.IDENTITY
STATE = True


class Options(SinkOptions):
    """The keys of a stdout sink."""


def policy(options: Options) -> Policy:  # noqa: ARG001 - every sink has it, this one needs no option
    """How the core delivers to it."""
    return Policy()


def build(name: str, options: Options, context: Context, stream: BinaryIO | None = None) -> StdoutSink:  # noqa: ARG001
    """The sink; `stream` takes the place of standard output in tests."""
    return StdoutSink(stream or sys.stdout.buffer)


class StdoutSink:
    """Writes each snapshot, its groups one after the other under a comment that names them."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._writing = False

    @property
    def url(self) -> str:
        """Not an address, but what a status page says."""
        return "stdout:"

    @property
    def direct_address(self) -> tuple[str, int] | None:
        """None: there is no host to knock at."""
        return None

    async def send(self, snapshot: Snapshot) -> Outcome:
        """Write the snapshot. The reader may be slow, so a thread waits for it, one at a time."""
        if self._writing:
            return Retry("timeout", "the reader of standard output has not taken the last snapshot yet")
        self._writing = True
        try:
            await anyio.to_thread.run_sync(self._write, _text(snapshot), abandon_on_cancel=True)
        except (OSError, ValueError) as error:  # ValueError: the stream was closed
            return Misconfigured("write", f"cannot write to standard output: {error}")
        return Accepted("written")

    async def aclose(self) -> None:
        """Standard output is not ours to close."""

    def _write(self, text: bytes) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        finally:
            self._writing = False


def _text(snapshot: Snapshot) -> bytes:
    parts = []
    for (job, instance), body in snapshot.bodies:
        # %a: a newline in a label value must not end the comment.
        parts.append(b"# job=%a instance=%a\n" % (job, instance))
        parts.append(body if body.endswith(b"\n") or not body else body + b"\n")
    return b"".join(parts)

"""One GET whose answer is read as it comes and never beyond a limit, compressed or not."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass

import httpx
from anyio.lowlevel import checkpoint

from agent.errors import CollectError
from agent.net.client import Client
from agent.net.credentials import CredentialError
from agent.net.words import escaped, failure

_STEP = 1 << 20
"""Bytes unpacked between two chances for others to run: a few milliseconds."""
_GZIP_WINDOW = 31  # zlib: the largest window (15) + 16 = a gzip header and trailer are required


@dataclass(frozen=True, slots=True)
class Page:
    """The decoded body of a 200 answer and its Content-Type, "" where there was none."""

    body: bytes
    content_type: str


async def fetch(client: Client, headers: Mapping[str, str], max_bytes: int) -> Page:
    """The page at the client's address, as one piece; see `fetch_pieces`."""
    body = bytearray()
    content_type = await fetch_pieces(client, headers, max_bytes, body.extend)
    return Page(bytes(body), content_type)


async def fetch_pieces(client: Client, headers: Mapping[str, str], max_bytes: int, take: Callable[[bytes], object]) -> str:
    """Hand the decoded body of the page at the client's address to `take`, piece by piece; returns its Content-Type.

    `max_bytes` bounds what arrives and what it unpacks to; a piece has a megabyte at the most. What was taken is
    worth nothing unless this returns.
    Raises CollectError, kinds `connect`, `status`, `size` and `encoding`; the time it takes is the caller's.
    """
    try:
        async with client.stream("GET", client.url, {**headers, "Accept-Encoding": "gzip"}) as response:
            if response.status_code != httpx.codes.OK:
                raise CollectError("status", _status_text(response))
            await read(response, max_bytes, take)
            return str(response.headers.get("Content-Type", ""))
    except httpx.HTTPError as error:
        # A credential that cannot be had says all there is to say itself.
        if isinstance(error, httpx.TransportError) and not isinstance(error, CredentialError):
            reason = failure(error)[1]
        else:
            reason = escaped(str(error)) or type(error).__name__
        raise CollectError("connect", f"no complete answer: {reason}") from error


def _status_text(response: httpx.Response) -> str:
    code = response.status_code
    if 300 <= code < 400:
        return f"HTTP {code}: a redirect, which is not followed; configure the address it leads to"
    return f"HTTP {code}"


class _Plain:
    """No compression."""

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """What `chunk` holds."""
        yield chunk

    def finish(self) -> None:
        """The connection ended; httpx has compared the length."""


class _Gzip:
    """Unpacks in pieces of a megabyte, so that neither memory nor the event loop is at the mercy of the ratio."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP_WINDOW)
        self._begun = False

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """What `chunk` unpacks to. Raises CollectError."""
        self._begun = True
        rest = chunk
        try:
            while rest:
                if self._member.eof:  # members may follow each other (RFC 1952, 2.2)
                    self._member = zlib.decompressobj(_GZIP_WINDOW)
                yield self._member.decompress(rest, _STEP)
                rest = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        except zlib.error as error:
            raise CollectError("encoding", f"the gzip body is broken: {error}") from error

    def finish(self) -> None:
        """Raises CollectError where the end is missing."""
        if self._begun and not self._member.eof:
            raise CollectError("encoding", "the gzip body ends too early")


def _unpacker(coding: str) -> _Plain | _Gzip:
    if coding in ("", "identity"):
        return _Plain()
    if coding in ("gzip", "x-gzip"):
        return _Gzip()
    raise CollectError("encoding", f"Content-Encoding {coding[:40]!a} was not asked for; only gzip is understood")


async def read(response: httpx.Response, max_bytes: int, take: Callable[[bytes], object]) -> None:
    """Hand the whole decoded body to `take`, piece by piece.

    Raises CollectError, kinds `size` where it, packed or unpacked, is longer than `max_bytes`, and `encoding`.
    """
    unpacker = _unpacker(response.headers.get("Content-Encoding", "identity").strip().lower())
    arrived = unpacked = 0
    chunks: AsyncGenerator[bytes, None] = response.aiter_raw()  # type: ignore[assignment]  # it is one, and has to be closed
    async with aclosing(chunks):
        async for chunk in chunks:
            arrived += len(chunk)
            for piece in unpacker.pieces(chunk):
                unpacked += len(piece)
                if max(unpacked, arrived) > max_bytes:
                    raise CollectError("size", f"the answer is longer than max_bytes, {max_bytes}")
                take(piece)
                await checkpoint()
    unpacker.finish()

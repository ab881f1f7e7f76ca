"""The lines of an exposition, split as they arrive; what stood there last time is kept, not made again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress, count
from operator import ne

from agent.errors import CollectError

MAX_LINES = 5_000_000
"""Of one exposition: a body of nothing but line feeds would take eight times its size in memory."""


class Lines:
    """Takes an exposition in pieces. `previous`: the lines of the one before, or nothing.

    A line that is where an equal one was is the previous object: of an exposition of which a fifth changes,
    four fifths never take memory twice.
    """

    def __init__(self, previous: Sequence[bytes] = ()) -> None:
        self._previous = previous
        self._rest: list[bytes] = []
        self.lines: list[bytes] = []
        self.changed: list[int] = []
        """Where a line differs from the previous one, as far as that goes."""

    def take(self, piece: bytes) -> None:
        """The next piece, of any length. Raises CollectError for more lines than anything sensible has."""
        end = piece.rfind(b"\n")
        if end < 0:
            self._rest.append(piece)  # joined once its line ends: one endless line is not copied again and again
            return
        self._rest.append(piece[:end])
        text = b"".join(self._rest)
        self._rest = [piece[end + 1 :]]
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n").removesuffix(b"\r")
        self._add(text.split(b"\n"))

    def finish(self) -> list[bytes]:
        """All lines; the last one is what follows the last line feed, mostly nothing."""
        self._add([b"".join(self._rest).removesuffix(b"\r")])
        self._rest = []
        return self.lines

    def _add(self, new: list[bytes]) -> None:
        lines, first = self.lines, len(self.lines)
        if first + len(new) > MAX_LINES:
            raise CollectError("size", f"the answer has more than {MAX_LINES:,} lines")
        old = self._previous[first : first + len(new)]
        changed = list(compress(count(first), map(ne, new, old)))
        lines += old
        lines += new[len(old) :]
        for place in changed:
            lines[place] = new[place - first]
        self.changed += changed


def complete_openmetrics(lines: Sequence[bytes]) -> bool:
    """Whether an OpenMetrics exposition is all there: it ends in `# EOF`."""
    last = next((line for line in reversed(lines) if line.strip(b"\r")), b"")
    return last.rstrip(b"\r").endswith(b"# EOF")

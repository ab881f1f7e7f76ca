"""The exemplars of an OpenMetrics exposition: `# {trace_id="abc"} 0.67 1520879607.789` behind a value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from agent.model import Exemplar, Exemplified, Family, Kind
from agent.sources.scrape import parse
from agent.sources.scrape.reading import Known

MAX_CHARACTERS = 128
"""Of all names and values of an exemplar's labels together (OpenMetrics 1.0, "Exemplars")."""
_BUCKETS = (Kind.HISTOGRAM, Kind.GAUGEHISTOGRAM)
_LAST_SECONDS = 1 << 32


def exemplars(lines: Sequence[bytes], known: Sequence[Known | None], places: Iterable[int], at: float) -> Iterator[Exemplified]:
    """Those on the lines at `places`; one that is broken, or where none belongs, is left out.

    `at`: the time of the scrape, seconds since the epoch; it is the time of an exemplar that has none.
    """
    for place in places:
        entry, line = known[place], lines[place]
        if entry is None or b"# {" not in line or not _may_have(entry.family):
            continue
        _, mark, text = line[entry.end :].partition(b" # {")
        try:
            found = _exemplar(b"x{" + text, at) if mark else None
        except parse.LineError:
            continue
        if found is not None:
            yield Exemplified(entry.family, entry.labels, found)


def _may_have(family: Family) -> bool:
    return family.kind is Kind.COUNTER or (family.kind in _BUCKETS and family.name.endswith("_bucket"))


def _exemplar(text: bytes, at: float) -> Exemplar | None:
    """From what is written like a sample. Raises LineError."""
    _, labels, end = parse.head(text)
    value, *rest = text[end:].split() or [b""]
    seconds = parse.number(rest[0]) if rest else at
    if len(rest) > 1 or not 0 < seconds < _LAST_SECONDS or sum(len(name) + len(told) for name, told in labels) > MAX_CHARACTERS:
        return None
    return Exemplar(labels, parse.number(value), int(seconds * 1000))

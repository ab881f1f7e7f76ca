"""JSON lines for VictoriaMetrics' `/api/v1/import`: one object per series, one sample in each.

The part that depends on labels alone is encoded once (`prefix`); a flush appends value and timestamp.
Only finite numbers are written: VictoriaMetrics 1.79 drops the whole line for `null`, `"NaN"` and
`"Infinity"`, and no version can express a staleness marker here. Source: VictoriaMetrics README,
"JSON line format", checked against 1.79.5.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import isfinite


def prefix(labels: Sequence[tuple[str, str]]) -> bytes:
    """Everything of a line in front of its value; `labels` holds `__name__` too, names unique.

    Labels with an empty value are absent, so left out. A lone surrogate, which UTF-8 cannot hold,
    becomes a question mark.
    """
    metric = json.dumps({name: value for name, value in labels if value}, ensure_ascii=False, separators=(",", ":"))
    return b'{"metric":%b,"values":[' % metric.encode("utf-8", "replace")


def line(prefix: bytes, value: float, timestamp_ms: int) -> bytes:
    """One finished line, newline included. `value` must be finite (`lines` leaves the others out)."""
    return b'%b%a],"timestamps":[%d]}\n' % (prefix, value, timestamp_ms)


def lines(prefixes: Sequence[bytes], values: Sequence[float], timestamp_ms: int) -> tuple[bytes, int]:
    """One line per series, all at `timestamp_ms`, and how many were left out.

    NaN, infinities and staleness markers (a NaN as well) are left out and counted. `values` may be an
    array; it is as long as `prefixes`. Call it page by page: ten thousand lines are a megabyte.
    """
    if len(prefixes) != len(values):
        raise ValueError(f"{len(prefixes)} prefixes for {len(values)} values")
    template = b'%%b%%a],"timestamps":[%d]}\n' % timestamp_ms
    # The sum is finite only if every value is; where it is not (or merely overflowed) each one is asked.
    if isfinite(sum(values)):
        return b"".join([template % pair for pair in zip(prefixes, values, strict=True)]), 0
    kept = [template % pair for pair in zip(prefixes, values, strict=True) if isfinite(pair[1])]
    return b"".join(kept), len(values) - len(kept)

"""The host lines of Anklet's `/metrics/v1?format=prometheus`, for tools that read that page today.

The names and their order are those of Anklet 2.0's page: counts and bytes as whole numbers, percentages
with six decimals, no HELP, no TYPE, no labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

_WHOLE = "{:d}"
_DECIMAL = "{:.6f}"
_FORMATS = {
    "host_cpu_count": _WHOLE,
    "host_cpu_used_count": _WHOLE,
    "host_cpu_usage_percentage": _DECIMAL,
    "host_memory_total_bytes": _WHOLE,
    "host_memory_used_bytes": _WHOLE,
    "host_memory_available_bytes": _WHOLE,
    "host_memory_usage_percentage": _DECIMAL,
    "host_disk_total_bytes": _WHOLE,
    "host_disk_used_bytes": _WHOLE,
    "host_disk_available_bytes": _WHOLE,
    "host_disk_usage_percentage": _DECIMAL,
}

NAMES = tuple(_FORMATS)
"""The metrics that `lines` prints, in its order."""


def lines(values: Mapping[str, float]) -> str:
    """One `name value` line for each of `NAMES` that `values` holds as a finite number, "" for none.

    Whole numbers are cut, as Anklet cuts them; only a part of a processor still counts as one.
    """
    printed: list[str] = []
    for name, form in _FORMATS.items():
        value = values.get(name)
        if value is None or not math.isfinite(value):
            continue
        if name == "host_cpu_count":
            value = math.ceil(value)
        printed.append(f"{name} {form.format(int(value) if form is _WHOLE else value)}\n")
    return "".join(printed)

"""What every benchmark prints: a table for people, or one JSON object last."""

from __future__ import annotations

import json
import platform
import resource
import sys
from collections.abc import Sequence


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), model)
    except OSError:
        pass
    import os

    return {"cpu": model, "cores": str(os.cpu_count()), "python": platform.python_version(), "system": platform.system()}


def peak_rss_mib() -> float:
    """The most resident memory this process ever had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / 1024


def show(rows: Sequence[dict[str, object]], *, as_json: bool, bench: str) -> None:
    """Print all rows; the same keys in every row, in order."""
    if as_json:
        print(json.dumps({"bench": bench, "machine": machine(), "rows": list(rows)}))
        return
    keys = list(rows[0])
    print("| " + " | ".join(keys) + " |")
    print("|" + "---|" * len(keys))
    for row in rows:
        print("| " + " | ".join(f"{row[key]:.3g}" if isinstance(row[key], float) else f"{row[key]}" for key in keys) + " |")

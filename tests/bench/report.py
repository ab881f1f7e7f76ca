"""What every benchmark shares: its flags, a process for each row, a table for people or one JSON object last."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence

import anyio

SERIES = (10_000, 100_000, 1_000_000)

Row = dict[str, object]


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), model)
    except OSError:
        pass
    return {"cpu": model, "cores": str(os.cpu_count()), "python": platform.python_version(), "system": platform.system()}


def peak_rss_mib() -> float:
    """The most resident memory this process ever had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / 1024


def run(bench: str, description: str, measure: Callable[..., Awaitable[Row]], choices: dict[str, Iterable[str]]) -> None:
    """The bench `tests.bench.<bench>` as a program: `measure(series, *choice)` for every combination asked for.

    Each row is measured in a process of its own, so that its peak of memory is its own. `choices`: flags beside
    `--series` and what they may be.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--series", type=int, action="append", help="may be repeated")
    for flag, values in choices.items():
        parser.add_argument(f"--{flag}", choices=list(values), action="append", help="may be repeated")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    asked = [getattr(args, flag) or list(values) for flag, values in choices.items()]
    rows: list[Row] = []
    for *choice, series in itertools.product(*asked, args.series or SERIES):
        if args.one:
            print(json.dumps(anyio.run(measure, series, *choice)))
            return
        words = [word for flag, value in zip(choices, choice, strict=True) for word in (f"--{flag}", value)]
        command = [sys.executable, "-m", f"tests.bench.{bench}", "--one", "--series", str(series), *words]
        rows.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
    show(rows, as_json=args.json, bench=bench)


def show(rows: Sequence[Row], *, as_json: bool, bench: str) -> None:
    """Print all rows; the same keys in every row, in order."""
    if as_json:
        print(json.dumps({"bench": bench, "machine": machine(), "rows": list(rows)}))
        return
    keys = list(rows[0])
    print("| " + " | ".join(keys) + " |")
    print("|" + "---|" * len(keys))
    for row in rows:
        print("| " + " | ".join(f"{row[key]:.3g}" if isinstance(row[key], float) else f"{row[key]}" for key in keys) + " |")

"""An outage of a real receiver, as long as it takes: every sample is in its export afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.real_outage import INTERVAL_SECONDS, outage

SERIES = 10_000
OUTAGE_SECONDS = 30


def test_every_sample_of_an_outage_of_30_s_is_in_victoria_metrics(tmp_path: Path, capsys: Any) -> None:
    found = outage(tmp_path, SERIES, OUTAGE_SECONDS)

    with capsys.disabled():
        print(f"\noutage of {OUTAGE_SECONDS} s: {found}")
    assert found.lost == set()
    assert found.waiting >= SERIES * (OUTAGE_SECONDS // INTERVAL_SECONDS - 2)

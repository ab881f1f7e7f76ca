"""GitHub's own payloads, where they lie beside the project: each is read, and a recorded run counts as what it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.github_payloads import Life, Told, guid

FOLDER = Path(__file__).parents[2] / "shared" / "github" / "payloads"
ALL = sorted(FOLDER.glob("*.json"))
RECORDED = sorted(FOLDER.glob("antwatcher.[1-6].*.json"))
needs_payloads = pytest.mark.skipif(not ALL, reason=f"no payloads in {FOLDER}")

RECEIVED = 1_729_376_840.0
"""2024-10-19T22:27:20Z, amid the recorded run."""


def payloads(path: Path) -> list[dict[str, Any]]:
    """What GitHub sent, out of a file that may hold a delivery, several, or what else was recorded of them."""
    found = json.loads(path.read_text(encoding="utf-8"))
    rows = found if isinstance(found, list) else [found]
    return [row for row in rows if isinstance(row, dict) and ("action" in row or "zen" in row)]


def event_of(payload: dict[str, Any]) -> str:
    """The event that such a payload belongs to."""
    return next((name for name in ("workflow_job", "workflow_run") if name in payload), "ping" if "zen" in payload else "other")


def recorded() -> list[Told]:
    """The deliveries of the recorded run, in the order in which they were emitted."""
    rows = json.loads((FOLDER / "antwatcher.headers.json").read_text(encoding="utf-8"))
    ids = {row["file"]: row["headers"]["X-GitHub-Delivery"] for row in rows}
    told = []
    for path in RECORDED:
        payload = payloads(path)[0]
        told.append(Told(event_of(payload), payload, ids[path.name], RECEIVED))
    return told


@needs_payloads
@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_every_payload_is_read(path: Path) -> None:
    for payload in payloads(path):
        digest = Life().hear(Told(event_of(payload), payload, guid(0), RECEIVED))

        assert digest.outcome in ("counted", "noted", "ignored", "ping")


@needs_payloads
def test_most_of_them_are_of_runs_and_jobs() -> None:
    events = [event_of(payload) for path in ALL for payload in payloads(path)]

    assert events.count("workflow_job") >= 9
    assert events.count("workflow_run") >= 6


@needs_payloads
@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5), (5, 4, 3, 2, 1, 0), (1, 3, 5, 5, 0, 2, 4)])
def test_the_recorded_run_is_one_run_and_one_job_with_their_own_times(order: tuple[int, ...]) -> None:
    life, told = Life(), recorded()

    life.hear_all(told[place] for place in order)

    # The run began at 22:27:10, was in progress at :17 and ended at :25. Its job was created at :12, started at :17 and
    # ended at :24, on one of GitHub's own runners, for a private repository, before 2026: a minute of Linux was 0.008.
    assert life.values("run:11421214728:1") == {"workflow_run_total": 1, "workflow_run_duration_seconds": 15}
    assert life.values("run:11421214728:1:queue") == {"workflow_run_queue_duration_seconds": 7}
    assert life.values("job:31777758900") == {
        "job_run_total": 1,
        "job_queue_duration_seconds": 5,
        "job_run_duration_seconds": 7,
        "job_billed_minutes_total": 1,
        "job_cost_dollars_total": 0.008,
    }
    assert len(life.counted) == 3


@needs_payloads
def test_the_recorded_run_says_where_and_what_it_was() -> None:
    life, told = Life(), recorded()

    life.hear_all(told)

    assert life.labels("job:31777758900", "job_run_total") == {
        "repository": told[0].payload["repository"]["full_name"],
        "workflow": told[0].payload["workflow"]["name"],
        "job_name": "test",
        "event": "push",
        "ref": "default",
        "runner_type": "github-hosted",
        "runner_group": "GitHub Actions",
        "status": "failure",
    }


@needs_payloads
def test_the_ids_of_recorded_deliveries_tell_when_they_were_emitted() -> None:
    life = Life()

    life.hear_all(recorded()[:4])

    (key,) = (key for key in life.notes if key.startswith("now:job:"))
    assert json.loads(life.notes[key])[1] == pytest.approx(1_729_376_837.939, abs=0.001)


@needs_payloads
def test_real_objects_of_the_api_are_read() -> None:
    found = json.loads((FOLDER.parent / "api" / "sentry.run.json").read_text(encoding="utf-8"))
    listed = json.loads((FOLDER.parent / "api" / "sentry.job.json").read_text(encoding="utf-8"))
    life = Life()

    life.commit(life.engine.listed(found["repository"], found, "", [listed], RECEIVED))

    # Begun at 19:52:00; the job ran from 19:52:17 until 20:05:37, and does not say when it was created.
    assert life.values("run:2104746951:1") == {"workflow_run_total": 1, "workflow_run_duration_seconds": 817}
    assert life.values("run:2104746951:1:queue") == {"workflow_run_queue_duration_seconds": 17}
    assert life.values("job:5857527450")["job_run_duration_seconds"] == 800
    assert "job_queue_duration_seconds" not in life.values("job:5857527450")

"""GitHub's objects and deliveries as tests want them: the shapes of its webhooks and its REST API, all values made up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from agent.model import Event, Increment, Note, Observation
from agent.sources.github.engine import Digest, Engine
from agent.sources.github.families import families
from agent.sources.github.options import Options

Json = dict[str, Any]

START = 1_773_136_800.0
"""2026-03-10T10:00:00Z: when the runs of tests begin."""
HOST = "github.com"
RUN_ID, JOB_ID = 9_000_001, 70_000_001
_UUID_EPOCH = 0x01B21DD213814000


def stamp(offset: float | None) -> str | None:
    """So many seconds after START, as GitHub writes times; None stays None."""
    return None if offset is None else datetime.fromtimestamp(START + offset, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def guid(offset: float, node: int = 1) -> str:
    """The id of a delivery that was emitted then: a version 1 UUID."""
    steps = int((START + offset) * 10_000_000) + _UUID_EPOCH
    return str(UUID(fields=(steps & 0xFFFFFFFF, steps >> 32 & 0xFFFF, steps >> 48 | 0x1000, 0x80, 1, node)))


def repository(**changed: Any) -> Json:
    """The object beside every event."""
    return {"id": 501, "full_name": "acme/rocket", "private": True, "default_branch": "main", "fork": False} | changed


def run(**changed: Any) -> Json:
    """A run object of attempt 1 that took 100 seconds; times may be given as seconds after START."""
    found: Json = {
        "id": RUN_ID,
        "name": "Build",
        "display_title": "Fix the fins",
        "path": ".github/workflows/build.yml",
        "workflow_id": 31,
        "run_number": 12,
        "run_attempt": 1,
        "event": "push",
        "status": "completed",
        "conclusion": "success",
        "head_branch": "main",
        "head_sha": "0" * 40,
        "created_at": 0,
        "run_started_at": 0,
        "updated_at": 100,
        "pull_requests": [],
    }
    return _timed(found | changed)


def job(**changed: Any) -> Json:
    """A job object: queued for 7 seconds, then 83 seconds on a standard runner; times as in `run`."""
    found: Json = {
        "id": JOB_ID,
        "run_id": RUN_ID,
        "run_attempt": 1,
        "workflow_name": "Build",
        "head_branch": "main",
        "name": "test",
        "status": "completed",
        "conclusion": "success",
        "created_at": 2,
        "started_at": 9,
        "completed_at": 92,
        "labels": ["ubuntu-latest"],
        "runner_id": 6,
        "runner_name": "GitHub Actions 6",
        "runner_group_id": 2,
        "runner_group_name": "GitHub Actions",
        "steps": [{"name": "Set up job", "number": 1, "started_at": changed.get("started_at", 9), "completed_at": 11}],
    } | changed
    found["steps"] = [_timed(dict(step)) for step in found["steps"]]
    return _timed(found)


NO_RUNNER: Mapping[str, Any] = {
    "runner_id": None,
    "runner_name": None,
    "runner_group_id": None,
    "runner_group_name": None,
    "steps": [],
}
"""Of a job that no runner took."""
SKIPPED: Mapping[str, Any] = {**NO_RUNNER, "conclusion": "skipped", "created_at": 20, "started_at": 19, "completed_at": 19}
LOOKALIKE: Mapping[str, Any] = {
    **NO_RUNNER,
    "labels": [],
    "name": "lint report",
    "created_at": 40,
    "started_at": 40,
    "completed_at": 41,
}
"""A check run that an action made, told as if it were a job."""


class Told(NamedTuple):
    """One delivery."""

    event: str
    payload: Json
    guid: str
    at: float
    """When it was emitted, seconds since the epoch."""


def told_run(action: str, offset: float, found: Json | None = None, **top: Any) -> Told:
    """A workflow_run event, emitted so many seconds after START."""
    found = run() if found is None else found
    payload = {"action": action, "workflow_run": found, "workflow": {"id": 31, "name": "Build"}, "repository": repository()}
    return Told("workflow_run", payload | top, guid(offset, found["id"]), START + offset)


def told_job(action: str, offset: float, found: Json | None = None, **top: Any) -> Told:
    """A workflow_job event."""
    found = job() if found is None else found
    payload = {"action": action, "workflow_job": found, "repository": repository()}
    return Told("workflow_job", payload | top, guid(offset, found["id"]), START + offset)


def requested(**changed: Any) -> Told:
    """The first word of a run."""
    return told_run("requested", 0.5, run(status="queued", conclusion=None, updated_at=0, **changed))


def options(**changed: Any) -> Options:
    """Valid ones, of a source that listens to webhooks."""
    return Options.model_validate({"webhook": {"secret": "s3cret"}} | changed)


class Life:
    """An engine and the ledger behind it, in which a key counts once."""

    def __init__(self, **changed: Any) -> None:
        self.options = options(**changed)
        self.families = families(self.options)
        self.counted: dict[str, Observation] = {}
        self.notes: dict[str, str] = {}
        self.engine = Engine(HOST, self.options, self.families)

    def commit(self, digest: Digest) -> Digest:
        """What the ledger would do."""
        for observation in digest.observations:
            self.counted.setdefault(observation.key, observation)
        for key, value in digest.notes:
            if value is None:
                self.notes.pop(key, None)
            else:
                self.notes[key] = value
        return digest

    def hear(self, told: Told, received: float | None = None) -> Digest:
        """One delivery, which came in when it was emitted or at `received`."""
        return self.commit(self.engine.webhook(told.event, told.payload, told.guid, told.at if received is None else received))

    def hear_all(self, told: Iterable[Told]) -> None:
        """One after the other."""
        for one in told:
            self.hear(one)

    def list(self, found: Json, jobs: Sequence[Json], offset: float = 1000.0, **changed: Any) -> Digest:
        """A run and its jobs out of the API."""
        return self.commit(self.engine.listed(repository(**changed), found, "Build", jobs, START + offset))

    def settle(self, offset: float) -> Digest:
        """So many seconds after START."""
        return self.commit(self.engine.settle(START + offset))

    def restart(self, offset: float = 0.0) -> None:
        """The agent is killed, and starts again so many seconds after START."""
        self.engine = Engine(HOST, self.options, self.families)
        self.engine.restore(self.notes, START + offset)

    def values(self, key: str) -> dict[str, float]:
        """What an observation adds, by family."""
        return {increment.family.name: increment.value for increment in self.counted[f"github:{HOST}:{key}"].increments}

    def labels(self, key: str, family: str) -> dict[str, str]:
        """The labels of one of its increments, without empty ones."""
        return named(next(one for one in self.counted[f"github:{HOST}:{key}"].increments if one.family.name == family))

    @property
    def known(self) -> set[str]:
        """What was counted, without the host."""
        return {key.removeprefix(f"github:{HOST}:") for key in self.counted}

    def sums(self) -> dict[str, object]:
        """All that was counted, to be compared with another life's."""
        return {
            key: (
                [(one.family.name, one.labels, one.value) for one in observation.increments],
                [(one.family.name, one.labels, one.value, one.at, one.exemplar) for one in observation.events],
            )
            for key, observation in self.counted.items()
        }

    def job(self, *, told: Json | None = None, **changed: Any) -> dict[str, float]:
        """What a job adds of which the run is known."""
        found = job(**changed) if told is None else told
        self.hear_all([requested(), told_job("completed", 95, found)])
        return self.values(f"job:{found['id']}")


def named(one: Increment | Event) -> dict[str, str]:
    """The labels of a series by name, without empty ones."""
    return {name: value for name, value in zip(one.family.labels, one.labels, strict=True) if value}


def kept(notes: Iterable[Note], kind: str) -> list[str]:
    """The keys of the notes of a kind that say something."""
    return [note.key for note in notes if note.value is not None and note.key.startswith(kind + ":")]


def _timed(found: Json) -> Json:
    times = {key: stamp(value) for key, value in found.items() if key.endswith("_at") and isinstance(value, int | float)}
    return found | times

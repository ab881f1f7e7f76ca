"""GitHub's objects, read tolerantly: what is missing by age or by kind is None, "" or 0; what has the wrong type is an error.

Shapes: https://docs.github.com/en/webhooks/webhook-events-and-payloads (workflow_run, workflow_job) and
https://docs.github.com/en/rest/actions; both forms of an object have the same keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from agent.errors import DeliveryError

MAX_TEXT = 250
"""Characters of a name; GitHub's own limits are about there, and a label has to end somewhere."""
MAX_LABELS = 100
MAX_STEPS = 1000
FIRST_SECONDS = 946684800.0
"""2000-01-01: earlier times are zero values (`0001-01-01T00:00:00Z`) of some program on the way."""
LARGEST = 1 << 62

CONCLUSIONS = frozenset(
    {
        "success",
        "failure",
        "cancelled",
        "skipped",
        "timed_out",
        "action_required",
        "neutral",
        "stale",
        "startup_failure",
    }
)
HOSTED_GROUP = "GitHub Actions"
"""The group of GitHub's own standard runners; its number differs from place to place."""

_GREGORIAN_SECONDS = 12219292800.0
"""From where version 1 UUIDs count (1582-10-15) to 1970 (RFC 9562, 5.1)."""


class Repository(NamedTuple):
    """Where it happened."""

    id: int
    name: str
    """owner/name."""
    default_branch: str
    private: bool


class Run(NamedTuple):
    """One attempt of a run. Times in seconds since the epoch; None = not there, or a zero value."""

    id: int
    attempt: int
    workflow_id: int
    workflow: str
    path: str
    event: str
    status: str
    conclusion: str
    branch: str
    created: float | None
    started: float | None
    """Of this attempt."""
    updated: float | None


class Job(NamedTuple):
    """One job of one attempt. Times as in `Run`."""

    id: int
    run_id: int
    attempt: int
    name: str
    workflow: str
    branch: str
    status: str
    conclusion: str
    created: float | None
    started: float | None
    completed: float | None
    labels: tuple[str, ...]
    runner: str
    """"" = no runner took it."""
    group: str
    steps: int
    first_step: float | None = None
    """When its first step began."""

    @property
    def had_runner(self) -> bool:
        """Whether a runner took it."""
        return bool(self.runner)

    @property
    def ran(self) -> bool:
        """Whether it did something on a runner."""
        return self.had_runner and self.conclusion != "skipped"

    @property
    def is_lookalike(self) -> bool:
        """Whether it is no job but a check run that some action made, under a job's name or even a job's id."""
        return not (self.labels or self.runner or self.steps) and self.conclusion not in ("skipped", "cancelled")


def repository_of(found: object) -> Repository:
    """A repository object."""
    repository = _mapping(found, "repository")
    name = _text(repository, "full_name")
    if "/" not in name:
        raise _wrong("repository.full_name", "owner/name")
    return Repository(_number(repository, "id"), name, _text(repository, "default_branch"), bool(repository.get("private")))


def run_of(found: object, workflow: object = None) -> Run:
    """A run object, and the object or the name of its workflow, whose name a run's own does not always tell."""
    run = _mapping(found, "workflow_run")
    about: Mapping[str, Any] = workflow if isinstance(workflow, Mapping) else {}
    name = workflow if isinstance(workflow, str) else _text(about, "name")
    path = (_text(run, "path") or _text(about, "path")).partition("@")[0]
    return Run(
        _number(run, "id", needed=True),
        max(1, _number(run, "run_attempt")),
        _number(run, "workflow_id"),
        name or _text(run, "name") or path.rpartition("/")[2],
        path,
        _text(run, "event"),
        _text(run, "status"),
        _conclusion(run),
        _text(run, "head_branch"),
        _time(run, "created_at"),
        _time(run, "run_started_at") or _time(run, "created_at"),
        _time(run, "updated_at"),
    )


def job_of(found: object) -> Job:
    """A job object."""
    job = _mapping(found, "workflow_job")
    labels, steps = job.get("labels"), job.get("steps")
    if not (isinstance(labels, list | None) and isinstance(steps, list | None)):
        raise _wrong("labels and steps", "lists")
    has_runner = bool(_number(job, "runner_id") or _text(job, "runner_name"))
    return Job(
        _number(job, "id", needed=True),
        _number(job, "run_id"),
        max(1, _number(job, "run_attempt")),
        _text(job, "name"),
        _text(job, "workflow_name"),
        _text(job, "head_branch"),
        _text(job, "status"),
        _conclusion(job),
        _time(job, "created_at"),
        _time(job, "started_at"),
        _time(job, "completed_at"),
        tuple(label[:MAX_TEXT] for label in (labels or ())[:MAX_LABELS] if isinstance(label, str)),
        (_text(job, "runner_name") or str(_number(job, "runner_id"))) if has_runner else "",
        _text(job, "runner_group_name") if has_runner else "",
        len(steps or ()),
        _first_step(steps or ()),
    )


def emitted_at(delivery_id: str) -> float | None:
    """When an event was emitted, from its delivery's id; None for an id that does not tell.

    Undocumented: GitHub's ids are version 1 UUIDs, which hold their time, and a redelivery keeps its id.
    """
    try:
        found = UUID(delivery_id)
    except ValueError:
        return None
    return found.time / 1e7 - _GREGORIAN_SECONDS if found.version == 1 else None


def seconds(text: object) -> float | None:
    """An RFC 3339 time as seconds since the epoch; None for none, a zero value, and what cannot be read."""
    if not isinstance(text, str) or not 19 <= len(text) <= 40:
        return None
    try:
        at = datetime.fromisoformat(text)
        return found if at.tzinfo is not None and (found := at.timestamp()) >= FIRST_SECONDS else None
    except (ValueError, OverflowError):
        return None


def _first_step(steps: Sequence[object]) -> float | None:
    starts = [seconds(step.get("started_at")) for step in steps[:MAX_STEPS] if isinstance(step, Mapping)]
    return min((start for start in starts if start is not None), default=None)


def _time(found: Mapping[str, Any], key: str) -> float | None:
    return seconds(found.get(key))


def _conclusion(found: Mapping[str, Any]) -> str:
    """Of a closed set; "" = none yet."""
    word = _text(found, "conclusion").lower()
    return word if word in CONCLUSIONS or not word else "other"


def _mapping(found: object, what: str) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise _wrong(what, "an object")
    return found


def _text(found: Mapping[str, Any], key: str) -> str:
    text = found.get(key)
    if text is None:
        return ""
    if not isinstance(text, str):
        raise _wrong(key, "text")
    return text[:MAX_TEXT].encode("utf-8", "replace").decode()  # half a surrogate pair is no text


def _number(found: Mapping[str, Any], key: str, *, needed: bool = False) -> int:
    number = found.get(key)
    if number is None and not needed:
        return 0
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < LARGEST:
        raise _wrong(key, "a whole number")
    return number


def _wrong(key: str, expected: str) -> DeliveryError:
    return DeliveryError(400, f"{key} is not {expected}; is this a delivery of GitHub's?")

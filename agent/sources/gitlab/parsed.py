"""The JSON of GitLab's REST API, read into the source's own types.

Shapes: https://docs.gitlab.com/api/pipelines/, https://docs.gitlab.com/api/jobs/ and https://docs.gitlab.com/api/projects/.
What is missing by age or kind is None, "" or 0; what makes no sense raises `MalformedError`, and only that object is lost.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeVar

from agent.sources.gitlab.objects import BRANCH, MERGE_REQUEST, TAG, Job, Pipeline, Project, Report, Totals

MAX_TEXT = 255
"""Characters of a name; GitLab allows no more for most."""
MAX_PATH = 1024
"""Characters of a project's full path: groups are nested up to twenty deep."""
MAX_SUITES = 100
"""Test suites of one pipeline; each is a job's."""
MAX_ARTIFACTS = 1000
FIRST_SECOND = 946684800
"""2000-01-01: earlier times are zero values of some program on the way."""
LAST_SECOND = 4102444800
"""2100-01-01: later times are somebody's word for never, and end what they are reckoned with."""
LARGEST = 1 << 62
LONGEST_SECONDS = 10 * 366 * 86400
"""No pipeline runs for longer; a duration that says so is wrong."""

Json = Mapping[str, Any]
T = TypeVar("T")

_MERGE_REQUEST_REF = re.compile(r"refs/merge-requests/(\d{1,18})/")
_RUNNER_TYPES = {"instance_type": "instance", "group_type": "group", "project_type": "project"}


class MalformedError(ValueError):
    """An object that cannot be one; the text says what is wrong with it."""


def readable(kind: str, found: object, parse: Callable[[Json], T], malformed: Counter[str]) -> Iterator[T]:
    """The items of a list that can be read; the others are counted in `malformed`, by `kind`."""
    for item in found if isinstance(found, list) else ():
        try:
            yield parse(item)
        except (MalformedError, TypeError, AttributeError):
            malformed[kind] += 1


def project_of(found: Json) -> Project:
    """A project of a list, `simple` or whole. Raises MalformedError."""
    path = text(found, "path_with_namespace", MAX_PATH)
    if "/" not in path:
        raise MalformedError("path_with_namespace is not group/project")
    return Project(whole(found, "id"), path, text(found, "default_branch"), seconds(found.get("created_at")) or 0)


def pipeline_of(found: Json) -> Pipeline:
    """A pipeline as its own page shows it; lists leave out half. Raises MalformedError."""
    status, ref, source = text(found, "status"), text(found, "ref"), text(found, "source").lower()
    group = found.get("detailed_status")
    if status == "success" and isinstance(group, dict) and group.get("group") == "success-with-warnings":
        status = "success_with_warnings"
    request = _MERGE_REQUEST_REF.match(ref)
    created = moment(found, "created_at")
    return Pipeline(
        whole(found, "id"),
        status,
        ref,
        kind_of(ref, source, is_tag=bool(found.get("tag"))),
        source,
        created,
        seconds(found.get("updated_at")) or created,
        seconds(found.get("started_at")),
        seconds(found.get("finished_at")),
        duration(found.get("duration")),
        duration(found.get("queued_duration")),
        percent(found.get("coverage")),
        int(request[1]) if request else 0,
    )


def kind_of(ref: str, source: str, *, is_tag: bool) -> str:
    """What a pipeline ran for (https://docs.gitlab.com/ci/pipelines/merge_request_pipelines/).

    One that a merge request began in a fork has the name of the branch for its ref, and its source alone tells.
    """
    if ref.startswith("refs/merge-requests/") or source == "merge_request_event":
        return MERGE_REQUEST
    return TAG if is_tag else BRANCH


def job_of(found: Json) -> Job:
    """A job; whether another took its place, its list has to tell. Raises MalformedError."""
    status = text(found, "status")
    if status == "failed" and found.get("allow_failure") is True:
        status = "failed_with_warnings"
    runner = found.get("runner")
    artifacts = found.get("artifacts")
    return Job(
        whole(found, "id"),
        text(found, "name"),
        text(found, "stage"),
        status,
        moment(found, "created_at"),
        seconds(found.get("started_at")),
        seconds(found.get("finished_at")),
        duration(found.get("duration")),
        duration(found.get("queued_duration")),
        False,
        _RUNNER_TYPES.get(str(runner.get("runner_type")), "unknown") if isinstance(runner, dict) else "unknown",
        text(found, "failure_reason") if status.startswith("failed") else "",
        _bytes(artifacts) if isinstance(artifacts, list) else None,
    )


def report_of(found: Json) -> Report:
    """A test report in summary (https://docs.gitlab.com/api/pipelines/, "test report summary"). Raises MalformedError."""
    total = found.get("total")
    if not isinstance(total, dict):
        raise MalformedError("total is not an object")
    totals = Totals(
        number(total, "time"),
        whole(total, "count"),
        whole(total, "success"),
        whole(total, "failed"),
        whole(total, "skipped"),
        whole(total, "error"),
    )
    suites = found.get("test_suites")
    return Report(totals, tuple(_suite_of(suite) for suite in (suites if isinstance(suites, list) else ())[:MAX_SUITES]))


def _suite_of(found: Json) -> tuple[str, Totals]:
    counts = (whole(found, f"{word}_count") for word in ("total", "success", "failed", "skipped", "error"))
    return text(found, "name"), Totals(number(found, "total_time"), *counts)


# -- single values ---------------------------------------------------------------------------------------


def seconds(found: object) -> int | None:
    """An ISO 8601 time as whole seconds since the epoch; None for none, a zero value, never, and what cannot be read."""
    if not isinstance(found, str):
        return None
    try:
        at = datetime.fromisoformat(found)
        second = int(at.timestamp()) if at.tzinfo is not None else 0
    except (ValueError, OverflowError):
        return None
    return second if FIRST_SECOND <= second < LAST_SECOND else None


def moment(found: Json, key: str) -> int:
    """A time that has to be there. Raises MalformedError."""
    second = seconds(found.get(key))
    if second is None:
        raise MalformedError(f"{key} is not a time")
    return second


def duration(found: object) -> int | None:
    """Whole seconds; None for none and for what cannot be a duration."""
    if isinstance(found, int | float) and 0 <= found <= LONGEST_SECONDS:
        return int(found)
    return None


def percent(found: object) -> float | None:
    """A coverage: text of pipelines, a number of jobs."""
    try:
        value = float(found) if isinstance(found, str | int | float) else -1.0
    except (ValueError, OverflowError):
        return None
    return value if 0 <= value <= 100 else None


def whole(found: Json, key: str) -> int:
    """A whole number from 0 that has to be there. Raises MalformedError."""
    value = found.get(key)
    if type(value) is not int or not 0 <= value < LARGEST:
        raise MalformedError(f"{key} is not a whole number")
    return value


def number(found: Json, key: str) -> float:
    """A finite number from 0 that has to be there. Raises MalformedError."""
    value = found.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < LARGEST:
        raise MalformedError(f"{key} is not a number")
    return float(value)


def text(found: Json, key: str, most: int = MAX_TEXT) -> str:
    """A text, "" where there is none, cut to its first `most` characters. Raises MalformedError for what is no text."""
    value = found.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedError(f"{key} is not text")
    if not value.isascii():
        value = value.encode("utf-8", "replace").decode()  # half a surrogate pair is no text
    return value[:most]


def _bytes(artifacts: list[Json]) -> int:
    """The sum of what a job left."""
    sizes = (item.get("size") for item in artifacts[:MAX_ARTIFACTS])
    return sum(size for size in sizes if type(size) is int and 0 <= size < LARGEST)

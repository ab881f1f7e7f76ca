"""The JSON of GitLab's GraphQL, read into the source's own types; what REST tells in other words becomes the same here.

Shapes: https://docs.gitlab.com/api/graphql/reference/, `Pipeline`, `CiJob` and `TestReportSummary`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from agent.sources.gitlab.failures import reason_of
from agent.sources.gitlab.objects import Job, Pipeline, Report, Totals, Upstream
from agent.sources.gitlab.parsed import (
    LARGEST,
    LONGEST_SECONDS,
    MAX_ARTIFACTS,
    MAX_PATH,
    MAX_SUITES,
    MalformedError,
    duration,
    kind_of,
    moment,
    number,
    percent,
    seconds,
    text,
    whole,
)
from agent.sources.gitlab.variables import Wanted

PIPELINE = "gid://gitlab/Ci::Pipeline/"
BUILD = "gid://gitlab/Ci::Build/"
PROJECT = "gid://gitlab/Project/"
MAX_CURSOR = 2000
"""Characters; GitLab's have a hundred."""
MAX_WORDS = 20_000
"""Different names that are kept once for many jobs."""
_MERGE_REQUEST_REF = re.compile(r"refs/merge-requests/(\d{1,18})/")
_RUNNER_TYPES = {"INSTANCE_TYPE": "instance", "GROUP_TYPE": "group", "PROJECT_TYPE": "project"}

Json = Mapping[str, Any]


def id_of(gid: object, kind: str) -> int:
    """The number in a global id of that kind. Raises MalformedError."""
    digits = gid[len(kind) :] if isinstance(gid, str) and gid.startswith(kind) else ""
    if len(digits) > 18 or not (digits.isdecimal() and digits.isascii()):
        raise MalformedError("id is no global id")
    return int(digits)


def moment_text(second: int) -> str:
    """A time as a variable of a query."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def nodes_of(connection: object) -> list[Any]:
    """What is on a page; [] where there is none."""
    nodes = connection.get("nodes") if isinstance(connection, dict) else None
    return nodes if isinstance(nodes, list) else []


def cursor_of(connection: object) -> str:
    """What to ask for the next page with; "" = this is the last."""
    page = connection.get("pageInfo") if isinstance(connection, dict) else None
    if not isinstance(page, dict) or page.get("hasNextPage") is not True:
        return ""
    cursor = page.get("endCursor")
    return cursor if isinstance(cursor, str) and len(cursor) <= MAX_CURSOR else ""


# -- pipelines -------------------------------------------------------------------------------------------


def pipelines_of(
    nodes: Iterable[Any], project: str, is_children: bool, malformed: Counter[str], variables: Wanted | None = None
) -> Iterator[Pipeline]:
    """The pipelines of a page, those of the project with that path, and what is told of their children below them.

    What is no pipeline is counted.
    """
    for node in nodes:
        try:
            yield pipeline_of(node, project, is_children, variables)
        except (MalformedError, TypeError, AttributeError):
            malformed["pipeline"] += 1
            continue
        below = nodes_of(node.get("downstream"))
        if below:  # in other projects they are in a list there
            yield from pipelines_of([one for one in below if _is_of(one, project)], project, True, malformed, variables)


def _is_of(node: Any, project: str) -> bool:
    about = node.get("project") if isinstance(node, dict) else None
    return isinstance(about, dict) and about.get("fullPath") == project


def pipeline_of(found: Json, project: str, is_child: bool = False, variables: Wanted | None = None) -> Pipeline:
    """A pipeline of the project with that path, with those of its `variables` that are wanted.

    Raises MalformedError, TypeError or AttributeError for what is none.
    """
    status, ref, source = text(found, "status").lower(), text(found, "ref"), text(found, "source").lower()
    if not status:
        raise MalformedError("status is not told")
    if status == "success" and found.get("warnings") is True:
        status = "success_with_warnings"
    upstream = _upstream_of(found.get("upstream"), found.get("sourceJob"))
    if not source and (is_child or (upstream is not None and upstream.project == project)):
        source = "parent_pipeline"  # older versions do not tell, and of others this cannot be
    request, about = _MERGE_REQUEST_REF.match(ref), found.get("mergeRequest")
    created = moment(found, "createdAt")
    return Pipeline(
        id_of(found.get("id"), PIPELINE),
        status,
        ref,
        _kind_of(found),
        source,
        created,
        seconds(found.get("updatedAt")) or created,
        seconds(found.get("startedAt")),
        seconds(found.get("finishedAt")),
        duration(found.get("duration")),
        duration(found.get("queuedDuration")),
        percent(found.get("coverage")),
        int(request[1]) if request else 0,
        text(about, "state").lower() if isinstance(about, dict) else "",
        upstream,
        variables.of(nodes_of(found.get("manualVariables")), project) if variables else (),
    )


def _kind_of(found: Json) -> str:
    """What a pipeline ran for. The path of a merge request's is that of its source branch."""
    is_tag = text(found, "refPath", MAX_PATH).startswith("refs/tags/")
    return kind_of(text(found, "ref"), text(found, "source").lower(), is_tag=is_tag)


def _upstream_of(found: Any, bridge: Any) -> Upstream | None:
    if not isinstance(found, dict):
        return None
    project = found.get("project")
    return Upstream(
        text(project, "fullPath", MAX_PATH) if isinstance(project, dict) else "",
        text(found, "ref"),
        text(bridge, "name") if isinstance(bridge, dict) else "",
        _kind_of(found),
        id_of(found.get("id"), PIPELINE),
    )


# -- jobs ------------------------------------------------------------------------------------------------


class JobReader:
    """Reads jobs by the hundred thousand: names, statuses and sentences that were seen before are looked up.

    `knows_reasons`: the instance tells why jobs fail. What is no job is counted in `malformed`.
    """

    def __init__(self, knows_reasons: bool, malformed: Counter[str]) -> None:
        self._malformed = malformed
        self._knows_reasons = knows_reasons
        self._words: dict[str, str] = {}
        self._reasons: dict[str, str] = {}
        self._statuses: dict[str, str] = {}
        self._times: dict[str | None, int | None] = {}

    def jobs(self, nodes: Iterable[Any]) -> list[Job]:
        """The jobs of a page; trigger jobs, and statuses that other systems report, are left out."""
        found = []
        for node in nodes:
            try:
                gid = node["id"]
                if gid.startswith(BUILD):
                    found.append(self._job(node, gid))
                elif not gid.startswith("gid://gitlab/"):
                    self._malformed["job"] += 1
            except (MalformedError, TypeError, AttributeError, KeyError):
                self._malformed["job"] += 1
        return found

    def _job(self, found: Json, gid: str) -> Job:
        status = self._statuses.get(found["status"]) or self._kept(self._statuses, found["status"], str.lower)
        reason = ""
        if status == "failed":
            if found.get("allowFailure") is True:
                status = "failed_with_warnings"
            if self._knows_reasons:
                said = found.get("failureMessage") or ""
                reason = self._reasons.get(said) or self._kept(self._reasons, said, reason_of)
        stage, runner, artifacts = found.get("stage"), found.get("runner"), found.get("artifacts")
        created = self._second(found["createdAt"])
        if created is None:
            raise MalformedError("createdAt is not a time")
        return Job(
            id_of(gid, BUILD),
            self._word(found["name"]),
            "" if stage is None else self._word(stage["name"]),
            status,
            created,
            self._second(found.get("startedAt")),
            self._second(found.get("finishedAt")),
            _duration(found.get("duration")),
            _duration(found.get("queuedDuration")),
            found.get("retried") is True,
            "unknown" if runner is None else _RUNNER_TYPES.get(runner.get("runnerType"), "unknown"),
            reason,
            None if artifacts is None else _bytes(artifacts),
        )

    def _second(self, found: Any) -> int | None:
        """As `seconds` has it; jobs of a pipeline are made in the same second."""
        second = self._times.get(found)
        if second is None and found is not None:
            second = seconds(found)
            if len(self._times) >= MAX_WORDS:
                self._times.clear()
            self._times[found] = second
        return second

    def _word(self, found: Any) -> str:
        word = self._words.get(found)
        return self._kept(self._words, found, str) if word is None else word

    def _kept(self, known: dict[str, str], found: Any, made: Any) -> str:
        """Raises MalformedError for what is no text."""
        word: str = made(text({"": found}, ""))
        if len(known) < MAX_WORDS and found is not None:
            known[found] = word
        return word


def _duration(found: Any) -> int | None:
    """As `duration` has it, for what comes by the hundred thousand."""
    if type(found) is int or type(found) is float:
        return int(found) if 0 <= found <= LONGEST_SECONDS else None
    return None


def _bytes(artifacts: Any) -> int | None:
    """The sum of what a job left; None = not told. Sizes are text: GraphQL's own whole numbers end at 32 bits."""
    nodes = artifacts["nodes"]
    if nodes is None:
        return None
    total = 0
    for node in nodes[:MAX_ARTIFACTS]:
        try:
            size = int(node["size"])
        except (TypeError, ValueError, KeyError, OverflowError):
            continue
        if 0 <= size < LARGEST:
            total += size
    return total


# -- test reports ----------------------------------------------------------------------------------------


def report_of(found: Json) -> Report:
    """A test report in summary. Raises MalformedError, TypeError or AttributeError for what is none."""
    total = found["total"] if isinstance(found, dict) and isinstance(found.get("total"), dict) else {}
    counts = (whole(total, word) for word in ("count", "success", "failed", "skipped", "error"))
    suites = nodes_of(found.get("testSuites"))
    return Report(Totals(number(total, "time"), *counts), tuple(_suite_of(suite) for suite in suites[:MAX_SUITES]))


def _suite_of(found: Json) -> tuple[str, Totals]:
    counts = (whole(found, f"{word}Count") for word in ("total", "success", "failed", "skipped", "error"))
    return text(found, "name"), Totals(number(found, "totalTime"), *counts)

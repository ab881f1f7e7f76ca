"""Single test cases of pipelines that ended, where they are wanted: each has a series, and each pipeline takes a request.

https://docs.gitlab.com/api/pipelines/ ("test report"). GitLab parses every artifact anew for it, so it is asked for once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from agent.errors import CollectError
from agent.model import Family, Increment, Observation
from agent.sources.gitlab.asking import Api
from agent.sources.gitlab.families import Families
from agent.sources.gitlab.parsed import MAX_SUITES, Json, MalformedError, number, readable, text

MAX_CASES = 5000
"""Of one pipeline; further ones are left out."""
STATUSES = ("success", "skipped", "failed", "error")
"""The worst last: of cases with one name it is the one that is shown."""
_WORST = {status: place for place, status in enumerate(STATUSES)}


class Case(NamedTuple):
    """One test in one pipeline."""

    suite: str
    name: str
    status: str
    seconds: float


class CaseReader:
    """Asks for the test reports of pipelines. `malformed`: cases that could not be read, counted under `test_case`."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.malformed: Counter[str] = Counter()

    async def one(self, project_id: int, pipeline_id: int) -> tuple[Case, ...]:
        """The cases of a pipeline; () = there are none. Raises CollectError."""
        data = (await self._api.get(f"/projects/{project_id}/pipelines/{pipeline_id}/test_report", {})).data
        suites = data.get("test_suites") if isinstance(data, dict) else None
        if not isinstance(suites, list):  # half an answer of something in between is no word of GitLab's
            raise CollectError("json", f"the answer is not the test report of pipeline {pipeline_id}")
        found: list[Case] = []
        for suite in suites[:MAX_SUITES]:
            found += self._suite(suite, MAX_CASES - len(found))
        return tuple(found)

    def _suite(self, suite: object, most: int) -> Iterable[Case]:
        cases = suite.get("test_cases") if isinstance(suite, dict) else None
        if not isinstance(suite, dict) or not isinstance(cases, list):
            return ()
        try:
            name = text(suite, "name")
        except MalformedError:
            self.malformed["test_case"] += len(cases)
            return ()
        return readable("test_case", cases[:most], lambda case: _case_of(name, case), self.malformed)


def observed(key: str, families: Families, path: str, ref: str, cases: Iterable[Case]) -> Observation:
    """How long the cases of one pipeline took. `key` is the pipeline's own, `path` its project's, `ref` the label."""
    family = families.test_case_duration_seconds
    increments = (Increment(family, (path, ref, case.suite, case.name), case.seconds) for case in cases)
    return Observation(f"{key}:cases", tuple(increments))


def shown(
    families: Families, path: str, label: str, cases: Iterable[Case], *, is_sparse: bool
) -> Iterator[tuple[Family, tuple[str, ...], float]]:
    """The status of each case, of those with one name the worst; `is_sparse`: without the statuses that it has not."""
    worst: dict[tuple[str, str], str] = {}
    for case in cases:
        before = worst.get((case.suite, case.name), case.status)
        worst[case.suite, case.name] = max(before, case.status, key=_WORST.__getitem__)
    for (suite, name), present in worst.items():
        for status in (present,) if is_sparse else STATUSES:
            yield families.test_case_status, (path, label, suite, name, status), float(status == present)


def _case_of(suite: str, found: Json) -> Case:
    """One case. Raises MalformedError."""
    name, status = text(found, "name"), text(found, "status")
    if not name or status not in _WORST:
        raise MalformedError("a case has a name and a status")
    return Case(suite, name, status, 0.0 if found.get("execution_time") is None else number(found, "execution_time"))

"""Single test cases."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from agent.errors import CollectError
from agent.sources.gitlab.families import families
from agent.sources.gitlab.reports import MAX_CASES, Case, CaseReader, observed, shown
from tests.gitlab_rest import GitLab, Json, options

FAMILIES = families(options())
PATH = "/projects/7/pipelines/1/test_report"


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


def case(name: object = "adds", status: str = "success", seconds: object = 0.25, **more: Any) -> Json:
    return {"name": name, "classname": "Sums", "status": status, "execution_time": seconds, "system_output": None} | more


def report(*cases: object, suite: object = "unit") -> Json:
    return {"total_count": len(cases), "test_suites": [{"name": suite, "test_cases": list(cases)}]}


async def read(found: object) -> tuple[tuple[Case, ...], int]:
    """The cases of a report, and how many could not be read."""
    gitlab = GitLab()
    gitlab.more[PATH] = found
    reader = CaseReader(gitlab)
    cases = await reader.one(7, 1)
    return cases, reader.malformed["test_case"]


@pytest.mark.anyio
async def test_cases_are_read_with_their_suite() -> None:
    cases, _ = await read(report(case(), case("divides", "failed", 3)))

    assert cases == (Case("unit", "adds", "success", 0.25), Case("unit", "divides", "failed", 3.0))


@pytest.mark.anyio
async def test_a_case_without_a_time_took_none() -> None:
    assert (await read(report(case(seconds=None))))[0][0].seconds == 0.0


@pytest.mark.anyio
@pytest.mark.parametrize("wrong", [case(name=""), case(name=None), case(status="fine"), case(seconds="1"), case(seconds=-1), 7])
async def test_a_malformed_case_is_lost_alone_and_counted(wrong: object) -> None:
    assert await read(report(case(), wrong)) == ((Case("unit", "adds", "success", 0.25),), 1)


@pytest.mark.anyio
@pytest.mark.parametrize("wrong", [None, [], {}, {"test_suites": 3}])
async def test_an_answer_that_is_no_report_is_not_taken_for_one_without_cases(wrong: object) -> None:
    with pytest.raises(CollectError, match="is not the test report of pipeline"):
        await read(wrong)


@pytest.mark.anyio
async def test_suites_that_are_none_have_no_cases() -> None:
    assert await read({"test_suites": [None, 4, {"name": "x"}]}) == ((), 0)


@pytest.mark.anyio
async def test_a_suite_without_a_readable_name_is_lost_alone() -> None:
    both = {"test_suites": [*report(case(), suite=7)["test_suites"], *report(case())["test_suites"]]}

    assert await read(both) == ((Case("unit", "adds", "success", 0.25),), 1)


@pytest.mark.anyio
async def test_too_many_cases_are_cut() -> None:
    half = [case(f"case {number}") for number in range(MAX_CASES - 100)]
    suites = {"test_suites": [{"name": name, "test_cases": half} for name in ("one", "two", "three")]}

    cases, _ = await read(suites)

    assert len(cases) == MAX_CASES


@pytest.mark.anyio
async def test_long_names_are_cut() -> None:
    assert len((await read(report(case("x" * 10_000))))[0][0].name) == 255


def test_the_cases_of_a_pipeline_count_together_and_once() -> None:
    cases = [Case("unit", "adds", "success", 0.25), Case("unit", "adds", "failed", 0.5)]

    found = observed("gitlab:h:pipeline:1", FAMILIES, "acme/shop", "main", cases)

    assert found.key == "gitlab:h:pipeline:1:cases"
    assert [(each.labels, each.value) for each in found.increments] == [
        (("acme/shop", "main", "unit", "adds"), 0.25),
        (("acme/shop", "main", "unit", "adds"), 0.5),
    ]


@pytest.mark.parametrize(("statuses", "worst"), [(("failed", "success"), "failed"), (("success", "skipped", "error"), "error")])
def test_of_cases_with_one_name_the_worst_is_shown(statuses: tuple[str, ...], worst: str) -> None:
    cases = [Case("unit", "adds", status, 1.0) for status in statuses]

    [(family, labels, value)] = shown(FAMILIES, "acme/shop", "main", cases, is_sparse=True)

    assert (family, value) == (FAMILIES.test_case_status, 1.0)
    assert labels == ("acme/shop", "main", "unit", "adds", worst)


def test_every_status_is_shown_where_that_is_wanted() -> None:
    found = shown(FAMILIES, "acme/shop", "main", [Case("unit", "adds", "skipped", 1.0)], is_sparse=False)

    assert {labels[-1]: value for _, labels, value in found} == {"success": 0, "skipped": 1, "failed": 0, "error": 0}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*list(case()), "test_cases"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=4), JSON)
@pytest.mark.anyio
async def test_no_report_breaks_the_reading(cases: list[object], suite: object) -> None:
    found, lost = await read(report(*cases, suite=suite))

    assert len(found) + lost == len(cases)
    assert all(case.seconds >= 0 for case in found)

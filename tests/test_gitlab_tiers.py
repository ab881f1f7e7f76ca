"""Which tier each namespace has, and what is collected."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.sources.gitlab.objects import Project
from agent.sources.gitlab.tiers import FREE, PREMIUM, ULTIMATE, Instance, Standing, Tiers
from tests.gitlab_rest import GitLab, clock, options

pytestmark = pytest.mark.anyio

SHOP, TILL, NOTES = Project(1, "acme/shop"), Project(2, "acme/web/till"), Project(3, "anna/notes")
UNAUTHORIZED, FORBIDDEN = CollectError("auth", "HTTP 401"), CollectError("forbidden", "HTTP 403")
ACTIVITY = "/analytics/group_activity/issues_count"


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


@pytest.fixture
def gitlab() -> GitLab:
    gitlab = GitLab()
    gitlab.more["/metadata"] = {"version": "18.4.1-ee", "revision": "c0ffee", "enterprise": True}
    gitlab.more["/version"] = {"version": "18.4.1-ee"}
    gitlab.more["/personal_access_tokens/self"] = {"id": 1, "scopes": ["read_api"]}
    return gitlab


def tiers(gitlab: GitLab, **keys: Any) -> Tiers:
    return Tiers(gitlab, options(**keys), clock)


async def test_a_namespace_whose_dora_metrics_are_answered_has_ultimate(gitlab: GitLab) -> None:
    gitlab.more["/groups/acme/dora/metrics"] = []
    found = tiers(gitlab)
    await found.refresh([SHOP, TILL])

    assert found.tiers == {"acme": ULTIMATE}


async def test_a_namespace_whose_activity_alone_is_answered_has_premium(gitlab: GitLab) -> None:
    gitlab.more |= {"/groups/acme/dora/metrics": UNAUTHORIZED, ACTIVITY: {"issues_count": 4}}
    found = tiers(gitlab)
    await found.refresh([SHOP])

    assert found.tiers == {"acme": PREMIUM}


@pytest.mark.parametrize("refusal", [UNAUTHORIZED, FORBIDDEN, CollectError("missing", "HTTP 404")])
async def test_a_namespace_that_refuses_both_has_free(gitlab: GitLab, refusal: CollectError) -> None:
    gitlab.more |= {"/groups/acme/dora/metrics": refusal, "/projects/1/dora/metrics": refusal, ACTIVITY: refusal}
    found = tiers(gitlab)
    await found.refresh([SHOP])

    assert found.tiers == {"acme": FREE}


async def test_each_namespace_has_a_tier_of_its_own(gitlab: GitLab) -> None:
    gitlab.more["/groups/acme/dora/metrics"] = []
    found = tiers(gitlab)
    await found.refresh([SHOP, TILL, NOTES])

    assert found.tiers == {"acme": ULTIMATE, "anna": FREE}


async def test_a_project_tells_where_the_token_sees_no_group(gitlab: GitLab) -> None:
    gitlab.more["/projects/1/dora/metrics"] = []
    found = tiers(gitlab)
    await found.refresh([SHOP])

    assert found.tiers == {"acme": ULTIMATE}


async def test_one_projects_refusal_does_not_hold_for_good(gitlab: GitLab) -> None:
    gitlab.more |= {"/projects/1/dora/metrics": FORBIDDEN, "/projects/2/dora/metrics": []}
    found = tiers(gitlab)
    await found.refresh([SHOP, TILL])
    before = found.tiers
    await anyio.sleep(6 * 3600 + 1)
    await found.refresh([SHOP, TILL])

    assert (before, found.tiers) == ({"acme": FREE}, {"acme": ULTIMATE})


async def test_what_was_told_is_not_asked_again_for_six_hours(gitlab: GitLab) -> None:
    found = tiers(gitlab)
    await found.refresh([SHOP])
    gitlab.asked.clear()
    await anyio.sleep(6 * 3600 - 10)
    await found.refresh([SHOP])

    assert gitlab.asked == []


async def test_an_answer_that_tells_nothing_keeps_what_was_known_and_is_asked_again_soon(gitlab: GitLab) -> None:
    gitlab.more["/groups/acme/dora/metrics"] = []
    found = tiers(gitlab)
    await found.refresh([SHOP])
    gitlab.more["/groups/acme/dora/metrics"] = CollectError("status", "HTTP 502")
    await anyio.sleep(6 * 3600 + 1)
    await found.refresh([SHOP])
    broken = found.tiers
    gitlab.more |= {"/groups/acme/dora/metrics": FORBIDDEN, ACTIVITY: {}}
    await anyio.sleep(301)
    await found.refresh([SHOP])

    assert (broken, found.tiers) == ({"acme": ULTIMATE}, {"acme": PREMIUM})


async def test_a_refused_token_is_no_missing_licence(gitlab: GitLab) -> None:
    gitlab.more |= {"/groups/acme/dora/metrics": UNAUTHORIZED, "/version": UNAUTHORIZED}
    found = tiers(gitlab)

    with pytest.raises(CollectError, match="401"):
        await found.refresh([SHOP])
    assert found.tiers == {}


async def test_a_configured_tier_is_believed_and_nothing_asked(gitlab: GitLab) -> None:
    found = tiers(gitlab, tier="premium")
    await found.refresh([SHOP, NOTES])

    assert found.tiers == {"acme": PREMIUM, "anna": PREMIUM}
    assert [path for path, _ in gitlab.asked] == ["/personal_access_tokens/self", "/metadata"]


async def test_the_community_edition_is_free_everywhere(gitlab: GitLab) -> None:
    gitlab.more["/metadata"] = {"version": "16.3.0", "enterprise": False}
    found = tiers(gitlab)
    await found.refresh([SHOP])

    assert (found.tiers, found.instance) == ({"acme": FREE}, Instance("16.3.0", False))


async def test_an_instance_without_metadata_is_asked_for_its_version(gitlab: GitLab) -> None:
    gitlab.more["/metadata"] = CollectError("missing", "HTTP 404")
    found = tiers(gitlab)
    await found.refresh([])

    assert found.instance == Instance("18.4.1-ee", True)


async def test_many_namespaces_are_asked_a_few_at_a_time(gitlab: GitLab) -> None:
    projects = [Project(number, f"g{number}/p") for number in range(50)]
    found = tiers(gitlab)
    told = []
    while not found.is_whole:
        await found.refresh(projects)
        told.append(len(found.tiers))

    assert told == [20, 40, 50]


async def test_a_namespace_without_projects_is_forgotten(gitlab: GitLab) -> None:
    found = tiers(gitlab)
    await found.refresh([SHOP, NOTES])
    await found.refresh([NOTES])

    assert found.tiers == {"anna": FREE}


@pytest.mark.parametrize(("scopes", "is_good"), [(["api"], True), (["read_user", "read_api"], True), (["read_user"], False)])
async def test_a_token_has_to_have_a_scope_that_reads(gitlab: GitLab, scopes: list[str], is_good: bool) -> None:
    gitlab.more["/personal_access_tokens/self"] = {"scopes": scopes}
    found = tiers(gitlab)
    await found.refresh([])

    assert found.problem == ("" if is_good else "the token's scopes are read_user; make one with the scope read_api")
    assert found.collectors()["pipelines"].is_on == is_good


async def test_a_token_that_cannot_tell_its_scopes_is_given_the_benefit_of_the_doubt(gitlab: GitLab) -> None:
    gitlab.more["/personal_access_tokens/self"] = UNAUTHORIZED
    found = tiers(gitlab)
    await found.refresh([])

    assert found.problem == ""


async def test_a_token_whose_scopes_do_not_even_allow_that_question_is_told_so(gitlab: GitLab) -> None:
    gitlab.more["/personal_access_tokens/self"] = CollectError("forbidden", 'HTTP 403 {"error":"insufficient_scope"}')
    found = tiers(gitlab)
    await found.refresh([])

    assert found.problem.endswith("make one with the scope read_api")


async def test_each_collector_says_why_it_is_off(gitlab: GitLab) -> None:
    found = tiers(gitlab, collectors={"pipelines": {"enabled": False}, "dora": {"enabled": True}}).collectors()

    assert found["pipelines"] == Standing(False, "switched off in the configuration")
    assert "takes the collector pipelines" in found["jobs"].reason
    assert found["dora"] == Standing(False, "this version does not collect it yet")


async def test_remarks_name_what_was_found_and_every_collector_that_is_off(gitlab: GitLab) -> None:
    found = tiers(gitlab, collectors={"dora": {"enabled": True}, "contributors": {"enabled": False}})
    await found.refresh([SHOP, NOTES])

    assert found.remarks() == (
        "GitLab 18.4.1-ee, EE",
        "free: acme, anna",
        "collectors that are off: test_reports, environments: switched off in the configuration",
        "collectors that are off: merge_requests, dora, value_stream, code_review, repository, contributors: "
        "this version does not collect it yet",
    )

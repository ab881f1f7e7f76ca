"""Which projects of a GitLab are read, and by which rules."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.sources.gitlab.discover import Discovery, Listed
from tests.gitlab_rest import NOW, GitLab, clock, moment, options

pytestmark = pytest.mark.anyio

MISSING = CollectError("missing", "HTTP 404")


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


def project(number: int, path: str) -> dict[str, Any]:
    """As lists show it."""
    return {"id": number, "path_with_namespace": path, "default_branch": "main", "created_at": moment(NOW - 9)}


@pytest.fixture
def gitlab() -> GitLab:
    gitlab = GitLab()
    gitlab.more["/groups/acme/projects"] = [project(1, "acme/shop"), project(2, "acme/web/till")]
    gitlab.more["/users/anna/projects"] = [project(3, "anna/notes")]
    gitlab.more["/projects"] = [project(1, "acme/shop"), project(9, "other/thing")]
    gitlab.more["/projects/other%2Fthing"] = project(9, "other/thing")
    gitlab.more["/version"] = {"version": "18.4.2-ee"}
    return gitlab


def group(name: str = "acme", **keys: Any) -> dict[str, Any]:
    return {"owner": {"name": name, **keys}}


def paths(listed: Listed) -> dict[int, str]:
    return {number: found.path for number, (found, _) in listed.projects.items()}


def asked(gitlab: GitLab, path: str) -> dict[str, str]:
    """What the first question for a path said."""
    return dict(next(params for place, params in gitlab.asked if place == path))


async def test_groups_users_and_single_projects_are_read_together(gitlab: GitLab) -> None:
    wildcards = [group(), {"owner": {"name": "anna", "kind": "user"}}]

    listed = await Discovery(gitlab, options(projects=[{"name": "other/thing"}], wildcards=wildcards), clock).projects()

    assert paths(listed) == {9: "other/thing", 1: "acme/shop", 2: "acme/web/till", 3: "anna/notes"}
    assert listed.problems == []


async def test_a_project_tells_its_default_branch_and_its_age(gitlab: GitLab) -> None:
    found, _ = (await Discovery(gitlab, options(wildcards=[group()]), clock).projects()).projects[1]

    assert (found.default_branch, found.created) == ("main", NOW - 9)


async def test_projects_that_a_group_only_shares_are_not_asked_for(gitlab: GitLab) -> None:
    await Discovery(gitlab, options(wildcards=[group()]), clock).projects()

    given = asked(gitlab, "/groups/acme/projects")
    assert (given["with_shared"], given["include_subgroups"], given["archived"]) == ("false", "true", "false")


async def test_subgroups_archived_projects_and_a_search_are_asked_for_as_configured(gitlab: GitLab) -> None:
    wildcard = group(include_subgroups=False) | {"archived": True, "search": "shop"}
    await Discovery(gitlab, options(wildcards=[wildcard]), clock).projects()

    given = asked(gitlab, "/groups/acme/projects")
    assert (given["include_subgroups"], given["search"], given.get("archived")) == ("false", "shop", None)


async def test_a_wildcard_without_an_owner_is_every_project_of_the_token_and_is_listed_by_ids(gitlab: GitLab) -> None:
    listed = await Discovery(gitlab, options(wildcards=[{}]), clock).projects()

    assert list(paths(listed)) == [1, 9]
    assert asked(gitlab, "/projects").items() >= {"membership": "true", "pagination": "keyset", "order_by": "id"}.items()


async def test_an_entry_that_stands_for_no_project_is_named(gitlab: GitLab) -> None:
    gitlab.more["/groups/empty/projects"] = []
    discovery = Discovery(gitlab, options(wildcards=[group(), group("empty")]), clock)

    listed = await discovery.projects()

    assert (listed.problems, discovery.barren) == ([], ["group empty"])


async def test_a_subgroups_path_is_sent_as_one_word(gitlab: GitLab) -> None:
    gitlab.more["/groups/acme%2Fweb/projects"] = [project(2, "acme/web/till")]

    listed = await Discovery(gitlab, options(wildcards=[group("acme/web")]), clock).projects()

    assert list(paths(listed)) == [2]


async def test_every_page_of_a_group_is_read(gitlab: GitLab) -> None:
    gitlab.more["/groups/acme/projects"] = [project(number, f"acme/p{number}") for number in range(1, 26)]

    listed = await Discovery(gitlab, options(wildcards=[group()], rest_page_size=10), clock).projects()

    assert len(listed.projects) == 25


async def test_the_rules_of_a_named_project_win_and_then_those_of_the_first_wildcard(gitlab: GitLab) -> None:
    gitlab.more["/projects/acme%2Fshop"] = project(1, "acme/shop")
    named = {"name": "acme/shop", "refs": {"tags": {"most_recent": 1}}}
    first, second = (group() | {"refs": {"tags": {"most_recent": most}}} for most in (2, 3))

    listed = await Discovery(gitlab, options(projects=[named], wildcards=[first, second]), clock).projects()

    assert {number: rules.refs.tags.most_recent for number, (_, rules) in listed.projects.items()} == {1: 1, 2: 2}


async def test_a_renamed_project_is_asked_for_by_its_number(gitlab: GitLab) -> None:
    discovery = Discovery(gitlab, options(projects=[{"name": "other/thing"}]), clock)
    await discovery.projects()
    gitlab.more |= {"/projects/other%2Fthing": MISSING, "/projects/9": project(9, "acme/thing")}
    await anyio.sleep(1801)

    assert paths(await discovery.projects()) == {9: "acme/thing"}


async def test_a_project_that_was_made_anew_under_its_name_is_found(gitlab: GitLab) -> None:
    discovery = Discovery(gitlab, options(projects=[{"name": "other/thing"}]), clock)
    await discovery.projects()
    gitlab.more |= {"/projects/9": MISSING, "/projects/other%2Fthing": project(10, "other/thing")}
    await anyio.sleep(1801)

    assert paths(await discovery.projects()) == {10: "other/thing"}


async def test_a_list_is_read_again_after_half_an_hour(gitlab: GitLab) -> None:
    discovery = Discovery(gitlab, options(wildcards=[group()]), clock)
    await discovery.projects()
    gitlab.more["/groups/acme/projects"].append(project(4, "acme/new"))
    await anyio.sleep(1700)
    early = paths(await discovery.projects())
    await anyio.sleep(200)

    assert 4 not in early
    assert 4 in paths(await discovery.projects())
    assert len(gitlab.asked) == 2


async def test_what_cannot_be_read_is_named_with_what_to_do_and_the_rest_goes_on(gitlab: GitLab) -> None:
    discovery = Discovery(gitlab, options(projects=[{"name": "acme/gone"}], wildcards=[group(), group("nobody")]), clock)

    listed = await discovery.projects()

    assert list(paths(listed)) == [1, 2]
    assert [problem.partition(":")[0] for problem in listed.problems] == ["project acme/gone", "group nobody"]
    assert all("check the full path" in problem for problem in listed.problems)


async def test_a_token_that_is_refused_is_one_problem_however_many_projects_there_are(gitlab: GitLab) -> None:
    gitlab.more |= {f"/projects/acme%2Fp{number}": CollectError("auth", "HTTP 401") for number in range(50)}
    names = [{"name": f"acme/p{number}"} for number in range(50)]

    with pytest.raises(CollectError, match=r"^projects cannot be listed: HTTP 401$"):
        await Discovery(gitlab, options(projects=names), clock).projects()


async def test_a_list_that_fails_later_keeps_what_it_had_and_is_tried_again_after_ten_seconds(gitlab: GitLab) -> None:
    discovery = Discovery(gitlab, options(wildcards=[group()]), clock)
    await discovery.projects()
    whole, gitlab.more["/groups/acme/projects"] = gitlab.more["/groups/acme/projects"], CollectError("status", "HTTP 500")
    await anyio.sleep(1801)
    failed = await discovery.projects()
    gitlab.more["/groups/acme/projects"] = whole[:1]
    await anyio.sleep(10)

    assert list(paths(failed)) == [1, 2]
    assert failed.problems == ["group acme: HTTP 500"]
    assert list(paths(await discovery.projects())) == [1]


async def test_nothing_to_read_is_an_error_that_says_why(gitlab: GitLab) -> None:
    with pytest.raises(CollectError, match="group nobody: there is no such group") as caught:
        await Discovery(gitlab, options(wildcards=[group("nobody")]), clock).projects()

    assert caught.value.kind == "missing"


async def test_an_empty_group_is_no_error(gitlab: GitLab) -> None:
    gitlab.more["/groups/acme/projects"] = []

    assert await Discovery(gitlab, options(wildcards=[group()]), clock).projects() == Listed({}, [])


async def test_a_malformed_project_is_lost_alone_and_counted(gitlab: GitLab) -> None:
    gitlab.more["/groups/acme/projects"] += [{"id": "5", "path_with_namespace": "acme/x"}, "nonsense", {"id": 6}]
    discovery = Discovery(gitlab, options(wildcards=[group()]), clock)

    assert list(paths(await discovery.projects())) == [1, 2]
    assert discovery.malformed == {"project": 3}


async def test_too_many_projects_are_cut_and_said(gitlab: GitLab) -> None:
    gitlab.more["/groups/acme/projects"] = [project(number, f"acme/p{number}") for number in range(1, 99)]

    listed = await Discovery(gitlab, options(wildcards=[group()], rest_page_size=5), clock, most=10).projects()

    assert len(listed.projects) == 10
    assert listed.problems == ["group acme: more than 10 projects; the others are not read"]
    assert len(gitlab.asked) == 2


async def test_too_many_projects_together_are_cut_and_the_named_ones_are_kept(gitlab: GitLab) -> None:
    configured = options(projects=[{"name": "other/thing"}], wildcards=[group()])

    listed = await Discovery(gitlab, configured, clock, most=2).projects()

    assert list(paths(listed)) == [9, 1]
    assert "narrow the wildcards" in listed.problems[0]


async def test_two_collectors_at_one_time_ask_once(gitlab: GitLab) -> None:
    discovery = Discovery(gitlab, options(wildcards=[group()]), clock)
    found = []

    async def collect() -> None:
        found.append(paths(await discovery.projects()))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(collect)
        tasks.start_soon(collect)

    assert found[0] == found[1] != {}
    assert len(gitlab.asked) == 1


@pytest.mark.parametrize("answer", [MISSING, CollectError("json", "the answer is not JSON")])
async def test_where_no_gitlab_answers_that_is_said_once_and_not_that_groups_are_missing(answer: CollectError) -> None:
    nothing = GitLab()
    nothing.more["/version"] = answer
    configured = options(wildcards=[group(), group("other")], projects=[{"name": "acme/shop"}])

    with pytest.raises(CollectError, match=r"^projects cannot be listed: there is no GitLab at the address in `url`"):
        await Discovery(nothing, configured, clock).projects()


@pytest.mark.parametrize("answer", [{"version": "18.4"}, CollectError("forbidden", "HTTP 403"), CollectError("auth", "HTTP 401")])
async def test_where_a_gitlab_answers_it_is_the_group_that_is_missing(answer: object) -> None:
    nothing = GitLab()
    nothing.more["/version"] = answer

    with pytest.raises(CollectError, match="there is no such group"):
        await Discovery(nothing, options(wildcards=[group()]), clock).projects()

"""Whatever is asked of the simulated GitLab's REST API, it answers: with what there is, or with what is wrong."""

from __future__ import annotations

import json
from functools import cache

import httpx
import trio
from hypothesis import given
from hypothesis import strategies as st

from agent.sim.gitlab.api import GitlabApi
from agent.sim.gitlab.flat import TOKEN, URL
from agent.sim.gitlab.places import World
from agent.sim.gitlab.profile import PROFILES, Profile
from agent.sim.gitlab.world import EXPIRED, GUESTS, USER_ONLY, build
from agent.sim.inside import Inside

NAMES = (
    *("page", "per_page", "order_by", "sort", "scope", "status", "source", "ref", "sha", "username", "yaml_errors", "simple"),
    *("updated_after", "updated_before", "created_after", "finished_after", "pagination", "id_after", "search", "states"),
    *("include_retried", "include_subgroups", "archived", "metric", "group_path", "from", "to", "iids[]", "scope[]", "state"),
)
WORDS = (
    *("1", "0", "-1", "100", "x", "id", "asc", "desc", "updated_at", "finished_at", "branches", "success", "parent_pipeline"),
    *("main", "true", "keyset", "2026-03-03T00:00:00Z", "0001-01-01T00:00:00+23:59", "9" * 30, "\u0661", "%00", "harbour"),
)
REST = ("", "/pipelines", "/pipelines/latest", "/jobs", "/environments", "/deployments", "/repository/compare", "/merge_requests")
OTHERS = ("/projects", "/groups", "/groups/harbour/projects", "/users/noor/projects", "/analytics/group_activity/issues_count")
FIRST = 41_000


@cache
def world() -> World:
    """A small one."""
    return build(4, projects=12, pipelines=60)


paths = st.one_of(
    st.sampled_from(OTHERS),
    st.builds(lambda number, rest: f"/projects/{FIRST + 7 * number}{rest}", st.integers(0, 12), st.sampled_from(REST)),
    st.builds(
        lambda text, rest: f"/projects/{text}{rest}", st.sampled_from(("harbour%2Fanchor-api", "%2F", "x")), st.sampled_from(REST)
    ),
)
queries = st.dictionaries(st.sampled_from(NAMES), st.one_of(st.sampled_from(WORDS), st.text(max_size=8)), max_size=5)
tokens = st.sampled_from((TOKEN, TOKEN, TOKEN, GUESTS, USER_ONLY, EXPIRED, "", "nobody's"))


@given(paths, queries, tokens, st.sampled_from(list(PROFILES.values())), st.floats(0.0, 1.2))
def test_any_request_is_answered_with_json_and_a_status_of_gitlabs(
    path: str, query: dict[str, str], token: str, profile: Profile, share: float
) -> None:
    here = world()
    api = GitlabApi(here, lambda: here.start + share * here.seconds, profile=profile)

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=Inside(api), base_url=URL) as client:
            return await client.get(f"/api/v4{path}", params=query, headers={"PRIVATE-TOKEN": token} if token else {})

    answer = trio.run(ask)

    assert answer.status_code in (200, 301, 400, 401, 403, 404, 405)
    found = json.loads(answer.content)
    assert isinstance(found, list | dict)
    assert answer.status_code == 200 or {"message", "error"} & set(found)

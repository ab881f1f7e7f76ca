"""Of which refs the state is shown, and until when."""

from __future__ import annotations

from typing import Any

import pytest

from agent.sources.gitlab.options import Options, ProjectOptions
from agent.sources.gitlab.payload import MERGE_REQUEST_HOOK, PUSH, TAG_PUSH
from agent.sources.gitlab.state import MOST_REFS, WHOLE_LIST
from tests.gitlab_engine import ROCKET, START, Life, pipeline

DAY = 86400
NOW = START + 1000.0


def living(**refs: Any) -> Life:
    """An agent whose projects have these rules for refs."""
    return Life(rules=ProjectOptions.model_validate({"refs": refs}))


def request(number: int, iid: int, state: str = "opened", **changed: Any) -> Any:
    found: dict[str, Any] = {"kind": "merge_request", "ref": f"refs/merge-requests/{iid}/head", "merge_request": iid}
    return pipeline(number, merge_request_state=state, **found, **changed)


def shown(life: Life, now: float = NOW) -> dict[tuple[str, ...], float]:
    return life.gauge("pipeline_id", now)


def test_of_tags_those_that_ran_last_are_shown() -> None:
    life = living(tags={"most_recent": 2})
    life.take(*(pipeline(number, ref=f"v{number}", kind="tag") for number in (3, 1, 2)))

    assert shown(life) == {("v3", "tag"): 3, ("v2", "tag"): 2}


def test_what_ran_too_long_ago_is_not_shown_and_that_is_a_change() -> None:
    life = living(branches={"max_age_days": 2})
    life.take(pipeline(1), pipeline(2, ref="develop", created=START + DAY))
    assert len(shown(life)) == 2
    _, version = life.engine.changed_since(-1, NOW)
    assert life.engine.changed_since(version, START + 2 * DAY)[0] == []

    assert life.engine.changed_since(version, START + 2 * DAY + 60.0)[0] == [ROCKET.id]
    assert shown(life, START + 2 * DAY + 60.0) == {("develop", "branch"): 2}


def test_merge_requests_are_shown_by_number_in_the_states_that_are_wanted() -> None:
    life = living(merge_requests={"states": ["opened"]})
    life.take(request(1, 11), request(2, 12, "merged"), request(3, 13, ""))

    assert shown(life) == {("!11", "merge_request"): 1, ("!13", "merge_request"): 3}


def test_a_merge_request_that_is_closed_by_an_event_is_shown_no_longer() -> None:
    life = living(merge_requests={"states": ["opened"]})
    life.take(request(1, 11))
    body = {"project": {"id": ROCKET.id}, "object_attributes": {"iid": 11, "state": "closed"}}
    _, version = life.engine.changed_since(-1)
    life.hear(MERGE_REQUEST_HOOK, body)

    assert not shown(life)
    assert life.engine.changed_since(version)[0] == [ROCKET.id]


def test_by_class_the_default_branch_is_shown_alone() -> None:
    life = Life(Options.model_validate({"labels": {"ref": "class"}}))
    life.take(pipeline(1), pipeline(2, ref="develop"), pipeline(3, ref="v1", kind="tag"), request(4, 11))

    assert shown(life) == {("default", "branch"): 1}


def test_refs_are_bounded_and_those_that_ran_longest_ago_leave() -> None:
    life = living(branches={"regexp": "."})
    life.take(*(pipeline(number, ref=f"b{number}") for number in range(1, MOST_REFS + 3)))

    assert min(shown(life).values()) == 3
    assert len(shown(life)) == MOST_REFS


@pytest.mark.parametrize(
    ("number", "is_newest", "is_shown"),
    [(1, False, True), (2, True, True), (3, False, True), (4, False, True), (5, True, True), (6, False, False)],
)
def test_the_newest_pipelines_of_shown_refs_are_known_as_such_and_the_newest_that_ran_to_its_end(
    number: int, is_newest: bool, is_shown: bool
) -> None:
    life = Life()
    words = ("success", "failed", "canceled", "running", "running")
    pipelines = [*(pipeline(place, word) for place, word in enumerate(words, 1)), pipeline(6, ref="topic")]
    life.take(*pipelines)

    assert life.engine.is_shown(ROCKET.id, pipelines[number - 1]) == is_newest
    assert life.engine.shows(ROCKET.id, pipelines[number - 1]) == is_shown


# -- deleted ---------------------------------------------------------------------------------------------


def test_refs_that_are_not_among_the_heads_are_deleted() -> None:
    life = Life()
    life.take(pipeline(1), pipeline(2, ref="develop"), pipeline(3, ref="v1", kind="tag"), request(4, 11))
    life.engine.heads(ROCKET.id, [pipeline(1)], NOW)

    assert shown(life) == {("main", "branch"): 1, ("!11", "merge_request"): 4}


def test_heads_make_refs_known_that_have_not_run_since_the_agents_start() -> None:
    life = Life()
    life.engine.heads(ROCKET.id, [pipeline(1, created=START - 9000), pipeline(2, ref="topic")], NOW)

    assert shown(life) == {("main", "branch"): 1}
    assert not life.kept


def test_where_the_newest_pipeline_was_deleted_the_one_before_it_is_shown() -> None:
    life = Life()
    life.take(pipeline(1), pipeline(2, "failed"), pipeline(5, "running", ref="develop"))
    life.engine.heads(ROCKET.id, [pipeline(1), pipeline(4, ref="develop")], NOW)

    assert shown(life) == {("main", "branch"): 1, ("develop", "branch"): 5}


def test_a_long_list_of_heads_says_nothing_of_refs_that_ran_before_all_of_them() -> None:
    life = living(branches={"regexp": "."})
    life.take(pipeline(1, ref="old"), pipeline(50, ref="gone"))
    life.engine.heads(ROCKET.id, [pipeline(10 + number, ref=f"b{number}") for number in range(WHOLE_LIST)], NOW)

    names = {name for name, _ in shown(life)}
    assert "old" in names
    assert "gone" not in names


@pytest.mark.parametrize(("event", "ref", "kind"), [(PUSH, "refs/heads/main", "branch"), (TAG_PUSH, "refs/tags/main", "tag")])
def test_an_event_that_deletes_a_ref_ends_its_state_and_no_other(event: str, ref: str, kind: str) -> None:
    life = living(tags={"regexp": "."})
    life.take(pipeline(1), pipeline(2, kind="tag"))
    life.hear(event, {"project_id": ROCKET.id, "ref": ref, "after": "0" * 40})

    assert kind not in {labels[1] for labels in shown(life)}
    assert len(shown(life)) == 1


def test_what_still_runs_on_a_deleted_ref_does_not_bring_it_back_and_what_is_new_does() -> None:
    life = Life()
    life.take(pipeline(1, "running"))
    life.engine.heads(ROCKET.id, [], NOW)
    life.take(pipeline(1))
    assert not shown(life)

    life.take(pipeline(2))

    assert shown(life) == {("main", "branch"): 2}


def test_where_it_is_wanted_deleted_refs_are_shown() -> None:
    life = living(branches={"exclude_deleted": False})
    life.take(pipeline(1))
    life.engine.heads(ROCKET.id, [], NOW)

    assert shown(life) == {("main", "branch"): 1}


def test_the_state_of_a_pipeline_that_was_deleted_ends() -> None:
    life = Life()
    life.take(pipeline(1))
    life.engine.gone(ROCKET.id, 1)

    assert not life.gauges()

"""What is kept of refs that are not shown: little."""

from __future__ import annotations

from agent.sources.gitlab.objects import BRANCH, MERGE_REQUEST, Upstream
from agent.sources.gitlab.state import SPARE, ProjectState
from tests.gitlab_engine import pipeline

PATH = "acme/rocket"


def request(number: int, pipeline_number: int) -> object:
    ref = f"refs/merge-requests/{number}/head"
    return pipeline(pipeline_number, ref=ref, kind=MERGE_REQUEST, source="merge_request_event", merge_request=number)


def test_merge_requests_that_are_not_shown_are_let_go_but_for_the_newest() -> None:
    state = ProjectState(PATH)
    for number in range(1, 501):
        state.take(request(number, number))  # type: ignore[arg-type]
    shown = [place for place, ref in state.refs.items() if ref.head.id in (3, 500)]

    state.prune(shown)

    assert sorted(ref.head.id for ref in state.refs.values()) == [3, *range(500 - SPARE, 500), 500]


def test_children_of_what_is_shown_are_kept_and_of_the_others_the_newest() -> None:
    state = ProjectState(PATH)
    state.take(pipeline(1))
    state.take(pipeline(2, source="parent_pipeline", upstream=Upstream(PATH, "main", "below", pipeline=1)))
    for number in range(3, 503):
        state.take(pipeline(number, source="parent_pipeline", upstream=Upstream(PATH, "topic", "below", pipeline=9000)))

    state.prune([(BRANCH, "main")])

    assert sorted(state.children) == [2, *range(503 - SPARE, 503)]

"""Questions that get no answer: when they are asked again, and when no more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from agent.errors import CollectError
from agent.sources.gitlab import waiting as module
from agent.sources.gitlab.objects import Pipeline, Project
from agent.sources.gitlab.options import ProjectOptions
from agent.sources.gitlab.reader import Known
from agent.sources.gitlab.waiting import Question, Waiting

NOW = 1_790_000_000
KNOWN: Known = {number: (Project(number, f"acme/p{number}"), ProjectOptions()) for number in (1, 2)}
Answers = Callable[[Question], str]
"""What comes of a question: the kind of an error, or nothing."""


def question(number: int, project: int = 1, *, counts: bool = True) -> Question:
    return Question(project, Pipeline(number, "success", "main", "branch", "push", NOW, NOW), counts)


class Polls:
    """A poll every minute."""

    def __init__(self, *questions: Question) -> None:
        self.errors: Counter[tuple[str, str]] = Counter()
        self.waiting = Waiting(self.errors)
        self.now = float(NOW)
        for one in questions:
            self.waiting.put(one)

    def poll(self, answers: Answers) -> list[int]:
        """The numbers of the pipelines that were asked about."""
        self.now += 60
        due = self.waiting.due(self.now)
        for one in due:
            if kind := answers(one):
                self.waiting.failed(one, CollectError(kind, f"HTTP {kind}"), self.now)
            else:
                self.waiting.answered(one)
        return [one.pipeline.id for one in due]

    def hours(self, count: int, answers: Answers) -> list[int]:
        return [number for _ in range(60 * count) for number in self.poll(answers)]


def test_a_project_that_always_fails_is_tried_ever_more_rarely_with_one_question() -> None:
    polls = Polls(*(question(number) for number in range(1, 11)))

    first = polls.poll(lambda _: "status")
    second = polls.hours(1, lambda _: "status")
    day = polls.hours(24, lambda _: "status")

    assert (len(first), len(second), len(day)) == (10, 3, 24)
    assert polls.errors["test_reports", "status"] == 1 + 3 + 24


def test_other_projects_are_asked_all_the_same() -> None:
    polls = Polls(question(1), question(2, 2))
    polls.poll(lambda one: "status" if one.project_id == 1 else "")
    polls.waiting.put(question(3, 2))

    assert polls.poll(lambda _: "status") == [1, 3]
    assert list(polls.waiting.problems(KNOWN)) == [f"project acme/p{number}, test reports: HTTP status" for number in (1, 2)]


def test_the_first_answer_brings_the_others_of_the_project() -> None:
    polls = Polls(question(1), question(2), question(3))
    polls.poll(lambda _: "status")

    asked = [polls.poll(lambda _: ""), polls.poll(lambda _: "")]

    assert asked == [[1], [2, 3]]
    assert list(polls.waiting.problems(KNOWN)) == []


def test_one_that_always_fails_holds_up_the_others_once_only() -> None:
    polls = Polls(question(1), question(2), question(3))
    polls.poll(lambda _: "status")

    asked = polls.hours(6, lambda one: "json" if one.pipeline.id == 1 else "")

    assert asked[:3] == [1, 2, 3]
    assert asked.count(1) == module.MAX_TRIES - 1
    assert polls.errors["test_reports", "given_up"] == 1


@pytest.mark.parametrize("kind", ["auth", "connect", "rate_limit"])
def test_where_nobody_is_answered_one_question_is_tried_and_none_is_given_up(kind: str) -> None:
    polls = Polls(question(1), question(2), question(3, 2))
    polls.poll(lambda _: kind)

    asked = polls.hours(24, lambda _: kind)

    assert 20 < len(asked) < 30
    assert list(polls.waiting.problems(KNOWN)) == [f"test reports: HTTP {kind}"]
    assert polls.errors == {("test_reports", kind): 1 + len(asked)}
    assert sorted(polls.hours(2, lambda _: "")) == [1, 2, 3]


def test_a_project_that_may_not_be_read_is_asked_six_hours_later() -> None:
    polls = Polls(question(1))
    polls.poll(lambda _: "forbidden")

    assert polls.hours(5, lambda _: "") == []
    assert polls.hours(2, lambda _: "") == [1]


def test_what_counts_comes_first_and_stays_so() -> None:
    polls = Polls(question(1, counts=False), question(2), question(3))
    polls.waiting.put(question(2, counts=False))

    assert polls.poll(lambda _: "") == [2, 3, 1]


def test_too_many_that_wait_are_given_up_and_counted_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    polls = Polls(*(question(number) for number in range(1, 6)))

    assert polls.poll(lambda _: "") == [3, 4, 5]
    assert polls.errors == {("test_reports", "given_up"): 2}


def test_what_is_not_wanted_any_more_is_let_go_with_its_projects() -> None:
    polls = Polls(question(1), question(2), question(3, 2))
    polls.poll(lambda _: "status")
    polls.waiting.keep({1: KNOWN[1]}, lambda one: one.pipeline.id != 1)

    assert polls.poll(lambda _: "") == [2]
    assert list(polls.waiting.problems(KNOWN)) == []
    assert ("test_reports", "given_up") not in polls.errors


def test_a_clock_that_was_set_back_keeps_nobody_waiting() -> None:
    polls = Polls(question(1))
    polls.poll(lambda _: "status")
    polls.now -= 86_400

    assert polls.poll(lambda _: "") == [1]

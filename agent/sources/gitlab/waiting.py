"""Questions about single pipelines on whose answers nothing else depends: those that get none wait to be asked again.

Each is asked a few times. Where a project has no answer, or the instance has none for anybody, one question at a time
is tried, ever more rarely.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from agent.errors import CollectError
from agent.sources.gitlab.asking import ALONE_SECONDS, FOR_ALL
from agent.sources.gitlab.objects import Pipeline
from agent.sources.gitlab.reader import Known

COLLECTOR = "test_reports"
GIVEN_UP = "given_up"
"""Counted beside the kinds of errors: questions that are not asked any more."""
MAX_TRIES = 6
"""Of one question."""
MAX_WAITING = 10_000
"""Of all; the oldest are given up first."""
FIRST_SECONDS = 60.0
"""After how long a project that has no answer is tried again; each further time four times as long."""
RARE_SECONDS = 3600.0
"""And so long in the end."""
ASKING_SECONDS = 20.0
"""How long one poll spends on such questions."""
LOOKS = 50
"""Questions of one poll whose answers are only shown."""
_EVERYBODY = 0
"""No project has this number."""


class Question(NamedTuple):
    """About a pipeline."""

    project_id: int
    pipeline: Pipeline
    counts: bool = True
    """Whether something is counted by the answer; else it is only shown."""
    tries: int = 0


@dataclass
class _Refusal:
    """A project that has no answer."""

    error: CollectError
    times: int
    until: float
    """When it is tried again, by the agent's clock."""

    def holds(self, now: float) -> bool:
        """Whether it is not to be asked."""
        return 0 < self.until - now <= ALONE_SECONDS


class Waiting:
    """All that wait. `errors`: by (collector, kind), counted here: a project that has no answer once a poll."""

    def __init__(self, errors: Counter[tuple[str, str]]) -> None:
        self.errors = errors
        self._questions: dict[int, Question] = {}
        """By pipeline id; the oldest first."""
        self._refusals: dict[int, _Refusal] = {}
        """By project id."""
        self._answered: list[Question] = []
        """Since the last commit."""

    def put(self, question: Question) -> None:
        """One more, or the same with more to it."""
        number = question.pipeline.id
        before = self._questions.get(number)
        if before is not None and before.counts:
            question = question._replace(counts=True)
        self._questions[number] = question
        if len(self._questions) > MAX_WAITING:
            self._give_up(next(iter(self._questions)))

    def keep(self, known: Known, is_wanted: Callable[[Question], bool]) -> None:
        """Let go of what is not wanted any more, and of projects that are not read."""
        for number, question in list(self._questions.items()):
            if question.project_id not in known or not is_wanted(question):
                del self._questions[number]
        for number in self._refusals.keys() - known.keys() - {_EVERYBODY}:
            del self._refusals[number]

    def due(self, now: float) -> list[Question]:
        """What is to be asked now, first what counts; where there was no answer only one question, if any."""
        everybody = self._refusals.get(_EVERYBODY)
        if everybody is not None and everybody.holds(now):
            return []
        found: list[Question] = []
        tried: set[int] = set()
        looks = 0
        for question in sorted(self._questions.values(), key=lambda question: not question.counts):
            refusal = self._refusals.get(question.project_id)
            if refusal is not None and (refusal.holds(now) or question.project_id in tried):
                continue
            looks += not question.counts
            if looks > LOOKS:
                break
            tried.add(question.project_id)
            found.append(question)
        return found if everybody is None else found[:1]

    def answered(self, question: Question) -> None:
        """That is done, and the project is well."""
        self._questions.pop(question.pipeline.id, None)
        self._refusals.pop(question.project_id, None)
        self._refusals.pop(_EVERYBODY, None)
        if question.counts:
            self._answered.append(question)

    def failed(self, question: Question, error: CollectError, now: float) -> None:
        """No answer. What is not there will not come; all else is asked again, after the others."""
        number = question.pipeline.id
        if error.kind in FOR_ALL:
            self._refused(_EVERYBODY, error, now)
            return
        if error.kind == "missing":
            self.errors[COLLECTOR, error.kind] += 1
            self._questions.pop(number, None)
            return
        self._refused(question.project_id, error, now)
        self._questions.pop(number, None)
        self._questions[number] = question._replace(tries=question.tries + 1)
        if question.tries + 1 >= MAX_TRIES:
            self._give_up(number)

    def settled(self, *, is_committed: bool) -> None:
        """What was answered until now is committed, or lost: then it is asked again."""
        lost, self._answered = [] if is_committed else self._answered, []
        for question in lost:
            self.put(question)

    def problems(self, known: Known) -> Iterable[str]:
        """Who has no answer, and why, one line each."""
        for number, refusal in self._refusals.items():
            if number == _EVERYBODY:
                yield f"test reports: {refusal.error}"
            elif number in known:
                yield f"project {known[number][0].path}, test reports: {refusal.error}"

    def _refused(self, number: int, error: CollectError, now: float) -> None:
        before = self._refusals.get(number)
        if before is not None and before.holds(now):  # it was told of another question of this poll
            return
        times = before.times + 1 if before is not None else 1
        seconds = ALONE_SECONDS if error.kind == "forbidden" else min(RARE_SECONDS, FIRST_SECONDS * 4.0 ** min(times - 1, 9))
        self._refusals[number] = _Refusal(error, times, now + seconds)
        self.errors[COLLECTOR, error.kind] += 1

    def _give_up(self, number: int) -> None:
        del self._questions[number]
        self.errors[COLLECTOR, GIVEN_UP] += 1

"""Test reports in summary, of each ref whose state is shown the newest that there is. Nothing waits for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import anyio

from agent.errors import CollectError
from agent.sources.gitlab.asking import FOR_ALL
from agent.sources.gitlab.engine import Engine
from agent.sources.gitlab.objects import Pipeline, Project, Report
from agent.sources.gitlab.reader import Known, Reader
from agent.sources.gitlab.waiting import ASKING_SECONDS, Question, Waiting

AT_ONCE = 50
"""Reports between two looks at the time."""


class Summaries:
    """Of one instance. `errors`: what could not be read, by (collector, kind), counted here."""

    def __init__(self, reader: Reader, engine: Engine, errors: Counter[tuple[str, str]]) -> None:
        self._reader = reader
        self._engine = engine
        self._waiting = Waiting(errors)

    async def take(self, read: Mapping[Project, Sequence[Pipeline]], known: Known, now: float) -> None:
        """Ask for the reports that may be shown, of what is in `read` and of those that wait; raises nothing.

        The newest pipeline is asked for first: where it has a report, nobody wants those of its ref before it.
        """
        for project, pipelines in read.items():
            for pipeline in pipelines:
                if self._engine.wants_report(project.id, pipeline):
                    self._waiting.put(Question(project.id, pipeline))
        self._waiting.keep(known, self._is_wanted)
        due, begun = sorted(self._waiting.due(now), key=_number, reverse=True), anyio.current_time()
        while due and anyio.current_time() - begun <= ASKING_SECONDS and await self._ask(due[:AT_ONCE], known, now):
            due = [question for question in due[AT_ONCE:] if self._is_wanted(question)]

    def problems(self, known: Known) -> list[str]:
        """What has no report though it should, one line for each project."""
        return list(self._waiting.problems(known))

    def _is_wanted(self, question: Question) -> bool:
        return self._engine.wants_report(question.project_id, question.pipeline)

    async def _ask(self, questions: Sequence[Question], known: Known, now: float) -> bool:
        """A few at once; whether it is of any use to go on."""
        asked: dict[Project, list[int]] = {}
        for question in questions:
            asked.setdefault(known[question.project_id][0], []).append(question.pipeline.id)
        answers: Mapping[int, Report | CollectError] = {}
        failure: CollectError | None = None
        try:
            with anyio.fail_after(ASKING_SECONDS):
                answers = await self._reader.reports(asked)
        except CollectError as error:
            failure = error
        except TimeoutError:
            failure = CollectError("timeout", f"no answer within {ASKING_SECONDS:g} s")
        for question in questions:
            answer = failure or answers.get(question.pipeline.id)
            if isinstance(answer, CollectError):
                self._waiting.failed(question, answer, now)
                continue
            self._waiting.answered(question)
            if answer is not None:
                self._engine.report(question.project_id, question.pipeline, answer)
        return failure is None or failure.kind not in FOR_ALL


def _number(question: Question) -> int:
    return question.pipeline.id

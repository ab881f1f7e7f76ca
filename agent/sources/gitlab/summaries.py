"""Test reports in summary, of the pipelines that are the newest of a ref whose state is shown. Nothing waits for them."""

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
        """Ask for the reports of what has ended and is shown, of those in `read` and of those that wait; raises nothing."""
        for project, pipelines in read.items():
            for pipeline in pipelines:
                if pipeline.is_final and self._engine.is_shown(project.id, pipeline):
                    self._waiting.put(Question(project.id, pipeline))
        self._waiting.keep(known, lambda one: self._engine.is_shown(one.project_id, one.pipeline))
        due, begun = self._waiting.due(now), anyio.current_time()
        for first in range(0, len(due), AT_ONCE):
            if anyio.current_time() - begun > ASKING_SECONDS or not await self._ask(due[first : first + AT_ONCE], known, now):
                return

    def problems(self, known: Known) -> list[str]:
        """What has no report though it should, one line for each project."""
        return list(self._waiting.problems(known))

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
                self._engine.reports(question.project_id, {question.pipeline.id: answer})
        return failure is None or failure.kind not in FOR_ALL

"""The engine with what is around it: a ledger that may fail, lives that end, and things for it to take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from agent.model import Kind, Observation, Update
from agent.sources.gitlab.engine import Digest, Engine, Hint
from agent.sources.gitlab.families import families
from agent.sources.gitlab.objects import Job, Pipeline, Project
from agent.sources.gitlab.options import Options, ProjectOptions

START = 1_790_000_000
HOST = "gitlab.example"
ROCKET = Project(501, "acme/rocket", "main")

Totals = Counter[tuple[str, tuple[str, ...]]]


def pipeline(number: int = 1, status: str = "success", **changed: Any) -> Pipeline:
    """One on main that was created 10 seconds after START and took 80; one that has not ended, as it was a second later."""
    is_final = pipeline_ended(status)
    ended = START + 100 if is_final else None
    found = Pipeline(
        number,
        status,
        "main",
        "branch",
        "push",
        START + 10,
        ended or START + 11,
        START + 20,
        ended,
        80 if is_final else None,
        10,
    )
    return found._replace(**changed)


def pipeline_ended(status: str) -> bool:
    """Whether it is one of GitLab's last words."""
    return status.removesuffix("_with_warnings") in ("success", "failed", "canceled", "skipped")


def job(number: int = 100, status: str = "success", **changed: Any) -> Job:
    """One that waited for 5 seconds and took 30."""
    is_final = pipeline_ended(status)
    found = Job(
        number,
        f"job {number}",
        "test",
        status,
        START + 15,
        START + 20,
        START + 50 if is_final else None,
        30 if is_final else None,
        5,
        runner_type="instance",
        failure_reason="script_failure" if status.startswith("failed") else "",
    )
    return found._replace(**changed)


class Life:
    """One agent over its lives: its engine and its ledger."""

    def __init__(self, options: Options | None = None, rules: ProjectOptions | None = None, since: int = START) -> None:
        self.options = options or Options.model_validate({})
        self.rules = rules or self.options.project_defaults
        self.families = families(self.options)
        self.since = since
        self.kept: dict[str, Observation] = {}
        self.notes: dict[str, str] = {}
        self.engine = self._born(START)

    def again(self, now: float = START + 1000) -> None:
        """Die, and begin anew with what was committed."""
        self.engine = self._born(now)

    def take(self, *pipelines: Pipeline, jobs: Mapping[int, Sequence[Job]] | None = None, now: float = START + 1000) -> Digest:
        """Hear of them, and commit that."""
        return self.commit(self.engine.take(ROCKET.id, pipelines, jobs or {}, now))

    def hear(self, event: str, body: Mapping[str, Any], now: float = START + 1000) -> tuple[Digest, Hint | None]:
        """A webhook, and commit that."""
        digest, hint = self.engine.webhook(event, body, now)
        return self.commit(digest), hint

    def commit(self, digest: Digest) -> Digest:
        """Into the ledger, which leaves out the keys that it knows."""
        for observation in digest.observations:
            self.kept.setdefault(observation.key, observation)
        for note in digest.notes:
            if note.value is None:
                self.notes.pop(note.key, None)
            else:
                self.notes[note.key] = note.value
        return digest

    @property
    def totals(self) -> Totals:
        """What the ledger has counted; of histograms how many and, with `:sum` behind the name, their sum."""
        found: Totals = Counter()
        for observation in self.kept.values():
            for family, labels, value in observation.increments:
                assert len(labels) == len(family.labels), family.name
                is_histogram = family.kind is Kind.HISTOGRAM
                found[family.name, labels] += 1 if is_histogram else int(value)
                if is_histogram:
                    found[f"{family.name}:sum", labels] += int(value)
        return found

    def total(self, name: str) -> dict[tuple[str, ...], int]:
        """The series of one counter or histogram."""
        return {labels: value for (of, labels), value in self.totals.items() if of == name}

    def gauge(self, name: str, now: float = START + 1000) -> dict[tuple[str, ...], float]:
        """The series of one gauge, without the project, their first label."""
        return {one.labels[1:]: float(str(one.value)) for one in self.gauges(now) if one.family.name == name}

    def gauges(self, now: float = START + 1000) -> list[Update]:
        """All of the project."""
        return self.engine.gauges(ROCKET.id, now)

    def _born(self, now: float) -> Engine:
        engine = Engine(HOST, self.options, self.families)
        engine.restore(self.notes, now)
        engine.watch(ROCKET, self.rules, self.since)
        return engine

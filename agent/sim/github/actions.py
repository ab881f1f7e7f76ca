"""What the API tells of workflows, runs and jobs, as of now.

https://docs.github.com/en/rest/actions/workflow-runs: with a filter, no more than 1,000 runs are listed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from agent.sim.github import objects, runs
from agent.sim.github.found import Call, Found, RequestError, created_range, page
from agent.sim.github.objects import Json
from agent.sim.github.plan import Attempt, Job, Repository, Run
from agent.sim.github.world import World

MAX_FILTERED = 1000
FILTERS = frozenset({"actor", "branch", "check_suite_id", "created", "event", "head_sha", "status"})

_ATTRIBUTES = {"event": "event", "branch": "head_branch", "actor": "actor", "head_sha": "head_sha"}
"""Filters, and what of a run they compare."""

Version = tuple[object, ...]


class Actions:
    """Runs and jobs of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._created = {name: [run.created for run in found] for name, found in world.of_repository.items()}
        self._runs = {run.id: run for run in world.runs}
        self._numbered = {repository.id: repository for repository in world.repositories}

    def repository(self, call: Call) -> Repository:
        """The repository that the path names, by its name or its id. Raises RequestError (404)."""
        if "repository_id" in call.path:
            found = self._numbered.get(int(call.path["repository_id"]))
        else:
            found = self._world.repository(f"{call.path['owner']}/{call.path['repo']}")
        if found is None:
            raise RequestError(404, "Not Found")
        return found

    def workflows(self, call: Call) -> Found:
        """GET .../actions/workflows."""
        repository = self.repository(call)
        shown, following = page(call, repository.workflows)
        return Found(
            ("workflows", repository.id),
            lambda: {
                "total_count": len(repository.workflows),
                "workflows": [objects.workflow(repository, workflow) for workflow in shown],
            },
            following,
        )

    def runs(self, call: Call) -> Found:
        """GET .../actions/runs."""
        repository = self.repository(call)
        matching = self._matching(repository, call)
        limited = matching[:MAX_FILTERED] if FILTERS & call.query.keys() else matching
        shown, following = page(call, limited)
        versions = [_version(run, runs.current(run, call.now), call.now) for run in shown]
        return Found(
            (len(matching), versions, sorted(call.query.items())),
            lambda: {
                "total_count": len(matching),
                "workflow_runs": [_rest_run(run, runs.current(run, call.now), call.now) for run in shown],
            },
            following,
        )

    def run(self, call: Call) -> Found:
        """GET .../actions/runs/{id} and .../attempts/{number}."""
        run = self._run(call)
        attempt = self._attempt(run, call)
        return Found(_version(run, attempt, call.now), partial(_rest_run, run, attempt, call.now))

    def jobs(self, call: Call) -> Found:
        """GET .../actions/runs/{id}/jobs and .../attempts/{number}/jobs."""
        run = self._run(call)
        if "number" not in call.path and call.query.get("filter") == "all":
            attempts = [attempt for attempt in run.attempts if attempt.started <= call.now]
        else:
            attempts = [self._attempt(run, call)]
        listed = [entry for attempt in attempts for entry in _listed(attempt, call.now)]
        shown, following = page(call, listed)
        return Found(
            [(job.id, number, runs.job_status(job, call.now)) for number, job in shown],
            lambda: {
                "total_count": len(listed),
                "jobs": [runs.job_object(run, number, job, runs.job_status(job, call.now)) for number, job in shown],
            },
            following,
        )

    def _matching(self, repository: Repository, call: Call) -> Sequence[Run]:
        """The runs of now that the filters let through, newest first."""
        first, last = created_range(call.query.get("created", "*..*"))
        times = self._created[repository.full_name]
        begin, end = bisect_left(times, first), bisect_right(times, min(last, call.now))
        found = self._world.of_repository[repository.full_name][begin : max(begin, end)][::-1]
        query = call.query
        for name, attribute in _ATTRIBUTES.items():
            if name in query:
                found = [run for run in found if getattr(run, attribute) == query[name]]
        if status := query.get("status"):
            found = [run for run in found if status in _states(runs.current(run, call.now), call.now)]
        return found

    def _run(self, call: Call) -> Run:
        run = self._runs.get(int(call.path["run_id"]))
        if run is None or run.created > call.now or run.repository.id != self.repository(call).id:
            raise RequestError(404, "Not Found")
        return run

    def _attempt(self, run: Run, call: Call) -> Attempt:
        number = int(call.path.get("number", 0))
        if not number:
            return runs.current(run, call.now)
        found = next((attempt for attempt in run.attempts if attempt.number == number and attempt.started <= call.now), None)
        if found is None:
            raise RequestError(404, "Not Found")
        return found


def _listed(attempt: Attempt, now: float) -> list[tuple[int, Job]]:
    """(attempt, job) of all that an attempt lists: its own jobs as they come into being, and those that it kept.

    A kept job has its old times; where it got a new id, it also got a new `created_at`, after its start.
    """
    kept = [
        carried.job if carried.id == carried.job.id else replace(carried.job, id=carried.id, created=attempt.started)
        for carried in attempt.carried
    ]
    return [(attempt.number, job) for job in (*kept, *attempt.jobs) if min(job.created, job.completed) <= now]


def _states(attempt: Attempt, now: float) -> tuple[str, str]:
    status = runs.attempt_status(attempt, now)
    return status, attempt.conclusion if status == "completed" else ""


def _version(run: Run, attempt: Attempt, now: float) -> Version:
    return run.id, attempt.number, runs.attempt_status(attempt, now), runs.updated_at(attempt, now)


def _rest_run(run: Run, attempt: Attempt, now: float) -> Json:
    """A run as the API shows it: with `run-name`, under a name of its own."""
    name = run.title if run.workflow.run_name else run.workflow.name
    status = runs.attempt_status(attempt, now)
    return runs.run_object(run, attempt, status, runs.updated_at(attempt, now), name=name)

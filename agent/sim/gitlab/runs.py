"""The REST API's pipelines, jobs, bridges and test reports.

https://docs.gitlab.com/api/pipelines/ and https://docs.gitlab.com/api/jobs/.
"""

from __future__ import annotations

import json

from agent.sim.gitlab import finders
from agent.sim.gitlab.asked import Call, Found, Json, RequestError, by_key, choice, flag, listed, moment
from agent.sim.gitlab.finders import CHILD, Row, Wanted
from agent.sim.gitlab.objects import BRIDGE, BUILD, Job, JobView, Pipeline, TestSuite
from agent.sim.gitlab.places import REPORTER, Project
from agent.sim.gitlab.rules import SOURCES

STATUSES = (
    *("created", "waiting_for_resource", "preparing", "pending", "running", "success", "failed", "canceling", "canceled"),
    *("skipped", "manual", "scheduled"),
)
Seen = tuple[Job, JobView]


def readable(call: Call) -> Project:
    """The project, whose pipelines the caller may see. Raises RequestError (403) where it may not."""
    project = call.here
    is_outsider = call.token is None or call.token.role < REPORTER
    if not project.builds_enabled or (is_outsider and project.visibility != "public"):
        raise RequestError(403, "403 Forbidden")
    return project


def pipelines(call: Call) -> Found:
    """The list of a project's pipelines."""
    project, path = readable(call), call.here.path_at(call.now)
    source = choice(call, "source", tuple(SOURCES))
    if source == CHILD and not call.bodies.profile.at_least(17):
        return listed(call, (), str)
    wanted = Wanted(
        choice(call, "scope", finders.SCOPES),
        choice(call, "status", STATUSES if call.bodies.profile.at_least(17) else [s for s in STATUSES if s != "canceling"]),
        source,
        call.query.get("ref", ""),
        call.query.get("sha", ""),
        call.query.get("username", ""),
        flag(call, "yaml_errors"),
        moment(call, "updated_after"),
        moment(call, "updated_before"),
        moment(call, "created_after"),
        moment(call, "created_before"),
    )
    order = choice(call, "order_by", finders.ORDERS, "id")
    rows = finders.pipelines(project, wanted, call.now)
    rows = finders.ordered(rows, order, ascending=choice(call, "sort", ("asc", "desc"), "desc") == "asc")
    return listed(call, rows, lambda row: call.bodies.pipeline(*row, path))


def _one(call: Call) -> Row:
    project, wanted = readable(call), int(call.path["pipeline"])
    for pipeline in project.pipelines:
        if pipeline.id == wanted:
            view = pipeline.at(call.now)
            if view is not None:
                return pipeline, view
    raise RequestError(404, "404 Not found")


def pipeline(call: Call) -> Found:
    """One pipeline."""
    return Found(call.bodies.detail(*_one(call), call.here.path_at(call.now)))


def latest(call: Call) -> Found:
    """The newest pipeline of a ref, by default of the default branch; where there is none, GitLab answers 403."""
    project = readable(call)
    rows = finders.pipelines(project, Wanted(ref=call.query.get("ref", "") or project.default_branch), call.now)
    if not rows:
        raise RequestError(403, "403 Forbidden")
    return Found(call.bodies.detail(*rows[0], project.path_at(call.now)))


def jobs(call: Call) -> Found:
    """The jobs of a pipeline."""
    row = _one(call)
    retried, scope = flag(call, "include_retried", False), call.many.get("scope", ())
    found = finders.jobs(row[0], call.now, kind=BUILD, retried=bool(retried), scope=scope)
    around = call.bodies.around(*row, call.here.path_at(call.now))
    return listed(call, found, lambda seen: call.bodies.job(*seen, around))


def variables(call: Call) -> Found:
    """The variables that a pipeline was given. Raises RequestError (403) for those who may not see them."""
    pipeline, _ = _one(call)
    if call.token is None or not call.token.reads_variables(pipeline):
        raise RequestError(403, "403 Forbidden")
    return listed(call, pipeline.variables, _variable)


def _variable(given: tuple[str, str]) -> str:
    key, value = given
    return json.dumps({"variable_type": "env_var", "key": key, "value": value, "raw": False})


def bridges(call: Call) -> Found:
    """The bridges of a pipeline, with what they triggered as far as the caller sees it."""
    row = _one(call)
    found = finders.jobs(row[0], call.now, kind=BRIDGE, retried=True, scope=call.many.get("scope", ()))
    around = call.bodies.around(*row, call.here.path_at(call.now))

    def render(seen: Seen) -> str:
        return f'{call.bodies.job(*seen, around)[:-1]},"downstream_pipeline":{_downstream(call, seen[0].downstream)}}}'

    return listed(call, found, render)


def _downstream(call: Call, below: Pipeline | None) -> str:
    view = below.at(call.now) if below else None
    if below is None or view is None or not (call.token and call.token.sees(below.project)):
        return "null"
    return call.bodies.pipeline(below, view, below.project.path_at(call.now), named=False)


def project_jobs(call: Call) -> Found:
    """All jobs of a project, newest first; without totals."""
    project, scope = readable(call), call.many.get("scope", ())
    path, found = project.path_at(call.now), list[tuple[Seen, Row]]()
    for pipeline in project.pipelines:
        view = pipeline.at(call.now)
        if view is not None:
            found += (
                (seen, (pipeline, view)) for seen in finders.jobs(pipeline, call.now, kind=BUILD, retried=True, scope=scope)
            )
    found.sort(key=_job_id, reverse=True)

    def render(each: tuple[Seen, Row]) -> str:
        return call.bodies.job(*each[0], call.bodies.around(*each[1], path))

    if call.query.get("pagination") == "keyset":
        return by_key(call, found, _job_id, render)
    return listed(call, found, render, counted=False)


def _job_id(each: tuple[Seen, Row]) -> int:
    return each[0][0].id


def job(call: Call) -> Found:
    """One job."""
    project, wanted = readable(call), int(call.path["job"])
    for pipeline in project.pipelines:
        view = pipeline.at(call.now)
        for each in pipeline.jobs if view else ():
            seen = each.at(call.now)
            if each.id == wanted and seen and view and each.spec.kind == BUILD:
                return Found(call.bodies.job(each, seen, call.bodies.around(pipeline, view, project.path_at(call.now))))
    raise RequestError(404, "404 Not found")


def report(call: Call) -> Found:
    """The test report of a pipeline, case by case."""
    pipeline, _ = _one(call)
    suites = [_suite(suite) for suite in pipeline.report_at(call.now)]
    return Found(json.dumps({**_sums(suites), "test_suites": suites}), nodes=1 + sum(len(s["test_cases"]) for s in suites))


def report_summary(call: Call) -> Found:
    """The same in sums."""
    pipeline, _ = _one(call)
    suites = []
    for suite in pipeline.report_at(call.now):
        full = _suite(suite)
        builds = [job.id for job in pipeline.jobs if job.spec.name == suite.name and not job.retried_at]
        suites.append({"name": suite.name, **_sums([full]), "build_ids": builds, "suite_error": None})
    short = {name.removeprefix("total_").removesuffix("_count"): value for name, value in _sums(suites).items()}
    return Found(json.dumps({"total": {**short, "suite_error": None}, "test_suites": suites}), nodes=1 + len(suites))


def _suite(suite: TestSuite) -> Json:
    cases = [
        {
            "status": case.status,
            "name": case.name,
            "classname": case.classname,
            "file": None,
            "execution_time": case.seconds,
            "system_output": "expected 1, got 2" if case.status == "failed" else None,
            "stack_trace": None,
            "recent_failures": {"count": 2, "base_branch": "main"} if case.status == "failed" else None,
        }
        for case in suite.cases
    ]
    states = [case.status for case in suite.cases]
    counts = {f"{status}_count": states.count(status) for status in ("success", "failed", "skipped", "error")}
    total = {"total_time": sum(case.seconds for case in suite.cases), "total_count": len(cases)}
    return {"name": suite.name, **total, **counts, "suite_error": None, "test_cases": cases}


def _sums(suites: list[Json]) -> Json:
    names = ("total_time", "total_count", "success_count", "failed_count", "skipped_count", "error_count")
    return {name: sum(suite[name] for suite in suites) for name in names}

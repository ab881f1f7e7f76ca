"""Worlds for load: so many projects with so many equal pipelines of so many jobs, all over, and quick to build."""

from __future__ import annotations

from collections.abc import Iterable

from agent.sim.gitlab.ids import JOBS, PIPELINES
from agent.sim.gitlab.objects import Job, JobSpec, Pipeline, PipelineView
from agent.sim.gitlab.places import ULTIMATE, Group, Place, Project, Ref, Token, User, World

MONDAY = 1_772_409_600
"""2026-03-02T00:00:00Z, where worlds begin unless told otherwise."""
TOKEN = "glpat-simulated"
URL = "https://gitlab.example.com"
_STAGES = ("build", "test", "deploy")


def flat(
    projects: int, pipelines: int, jobs: int, *, start: int = MONDAY, spacing: int = 600, steady: float = 0.0, rounds: int = 0
) -> World:
    """`projects` with `pipelines` each, one begun every `spacing` seconds, of `jobs` jobs.

    After those, in each of `rounds` further spacings, the share `steady` of the projects has one pipeline more, other
    projects each time.
    """
    group = Group(50, "load", "Load", tier=ULTIMATE)
    user = User(900, "loader", "L. Oader")
    specs = _specs(jobs)
    found = []
    for number in range(projects):
        project = Project(7_000 + number, (Place(start, group, f"p{number:05}"),), start - 86_400, ordinal=number)
        project.branches = (Ref("main", start - 86_400),)
        begun = [start + place * spacing for place in range(pipelines)]
        begun += (start + (pipelines + turn) * spacing for turn in _turns(number, projects, steady, rounds))
        project.pipelines = tuple(
            _pipeline(project, user, specs, created, place, projects) for place, created in enumerate(begun)
        )
        found.append(project)
    token = Token(TOKEN, user)
    seconds = (pipelines + rounds) * spacing
    return World(0, start, seconds, URL, (group,), (user,), tuple(found), {TOKEN: token})


def _turns(number: int, projects: int, steady: float, rounds: int) -> Iterable[int]:
    each = round(projects * steady)
    return (turn for turn in range(rounds) if (number - turn * each) % projects < each)


def _specs(jobs: int) -> tuple[JobSpec, ...]:
    return tuple(JobSpec(f"job-{place:03}", _STAGES[place * 3 // jobs]) for place in range(jobs))


def _pipeline(project: Project, user: User, specs: tuple[JobSpec, ...], created: int, place: int, projects: int) -> Pipeline:
    turn = (created - project.places[0].since) * projects + project.ordinal
    queued, started = created + 1, created + 3
    ends = [started + 20 + (turn * 7 + step * 13) % 200 for step in range(4)]
    first = JOBS + turn * len(specs)
    made = Pipeline(PIPELINES + turn, project, "main", "push", f"{turn:040x}", created, user, iid=place + 1)
    made.jobs = tuple(
        Job(first + step, spec, created, queued, started, ends[step % 4], "success", runner=step % 8)
        for step, spec in enumerate(specs)
    )
    ended = max(ends) + 1
    made.views = (
        PipelineView(created, "pending"),
        PipelineView(started, "running", False, started, None, None, started - created),
        PipelineView(ended, "success", False, started, ended, ended - started, started - created),
    )
    return made

"""What the fields with fields of their own lead to: from one thing of the world to others, as one caller may see them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Any

from agent.sim.gitlab import finders
from agent.sim.gitlab.finders import CHILD
from agent.sim.gitlab.graphql.leaves import JobSeen, Seen, Variable, totals
from agent.sim.gitlab.graphql.pages import Rows, in_order
from agent.sim.gitlab.graphql.run import FieldError
from agent.sim.gitlab.graphql.values import BadValueError, gid
from agent.sim.gitlab.objects import BUILD, Job, Pipeline, TestSuite
from agent.sim.gitlab.places import REPORTER, ULTIMATE, Group, MergeRequest, Project, Token, User, World
from agent.sim.gitlab.profile import Profile
from agent.sim.gitlab.rules import SOURCES

MAX_FULL_PATHS = 50
Given = Mapping[str, Any]
Report = tuple[Pipeline, tuple[TestSuite, ...]]


class Reading:
    """One caller's sight of a world at one moment. `token`: None = anonymous, who sees what is public."""

    def __init__(self, world: World, token: Token | None, now: float, profile: Profile) -> None:
        self._world = world
        self._token = token
        self._now = now
        self._profile = profile

    # -- lists -----------------------------------------------------------------------------------------------

    def projects(self, group: Group | None, given: Given) -> Rows:
        """Those of the instance or of a group. Raises FieldError."""
        found: Iterable[Project] = self._wanted(given)
        if group is not None:
            deep = given.get("includeSubgroups", False)
            found = (each for each in found if self._is_in(each, group, deep=deep))
        archived = given.get("archived", "INCLUDE" if given.get("includeArchived", True) else "EXCLUDE")
        if archived != "INCLUDE":
            found = (each for each in found if each.archived is (archived == "ONLY"))
        if "fullPaths" in given:
            paths = {path.lower() for path in given["fullPaths"]}
            if len(paths) > MAX_FULL_PATHS:
                raise FieldError(f"You cannot provide more than {MAX_FULL_PATHS} full paths")
            found = (each for each in found if each.path_at(self._now).lower() in paths)
        if search := given.get("search", "").lower():
            found = (each for each in found if search in each.place(self._now).path.lower())
        if given.get("membership") and self._token is None:
            found = ()
        return self._sorted(list(found), given.get("sort", "id_desc"))

    def _wanted(self, given: Given) -> Iterator[Project]:
        if "ids" not in given:
            return (each for each in self._world.projects if each.exists(self._now) and self._sees(each))
        try:
            ids = {gid(text, "Project") for text in given["ids"]}
        except BadValueError as error:
            raise FieldError(str(error)) from None
        known = (self._world.project(each, self._now) for each in ids)
        return (each for each in known if each is not None and self._sees(each))

    def _is_in(self, project: Project, group: Group, *, deep: bool) -> bool:
        where = project.place(self._now).group
        return where.is_within(group) if deep else where is group

    def _sorted(self, found: list[Project], sort: str) -> Rows:
        name, _, direction = sort.lower().rpartition("_")
        is_falling = direction != "asc"
        if name in ("name", "path"):
            found.sort(key=lambda each: (each.place(self._now).path, each.id), reverse=is_falling)
            return in_order(found)
        found.sort(key=attrgetter("id"), reverse=is_falling)
        return Rows(found, [each.id for each in found], is_falling)

    def pipelines(self, project: Project, given: Given) -> Rows:
        """Those of a project; a source that nobody knows filters nothing."""
        found = self._listed(project, given) if self._reads(project) else []
        return Rows(found, [pipeline.id for pipeline, _ in found], is_falling=True)

    def _listed(self, project: Project, given: Given) -> list[Seen]:
        source = given.get("source", "")
        if source == CHILD and not self._profile.at_least(17):
            return []
        wanted = finders.Wanted(
            given.get("scope", "").lower(),
            given.get("status", "").lower(),
            source if source in SOURCES else "",
            given.get("ref", ""),
            given.get("sha", ""),
            given.get("username", ""),
            updated_after=given.get("updatedAfter"),
            updated_before=given.get("updatedBefore"),
        )
        return finders.pipelines(project, wanted, self._now)

    def jobs(self, seen: Seen, given: Given) -> Rows:
        """Those of a pipeline, retried ones too unless the arguments say something about them; newest first."""
        pipeline, now = seen[0], self._now
        found: list[JobSeen] = [(job, view, pipeline) for job in reversed(pipeline.jobs) if (view := job.at(now)) is not None]
        if "jobKind" in given:
            found = [each for each in found if each[0].spec.kind == given["jobKind"]]
        if "retried" in given:
            found = [each for each in found if each[1].retried is given["retried"]]
        return self._of_status(found, given)

    def project_jobs(self, project: Project, given: Given) -> Rows:
        """All jobs of a project, retried ones too, newest first; bridges only where they are asked for."""
        kind = given.get("kind", BUILD)
        if not self._reads(project):
            return in_order(())
        seen = ((pipeline, view) for pipeline in project.pipelines if (view := pipeline.at(self._now)) is not None)
        found = [each for one in seen for each in self.jobs(one, {"jobKind": kind}).things]
        found.sort(key=lambda each: -each[0].id)
        return self._of_status(found, given)

    def _of_status(self, found: list[JobSeen], given: Given) -> Rows:
        if "statuses" in given:
            wanted = {status.lower() for status in given["statuses"]}
            found = [each for each in found if self._profile.says(each[1].status) in wanted]
        return Rows(found, [each[0].id for each in found], is_falling=True)

    def environments(self, project: Project, given: Given) -> Rows:
        """Those of a project that something was deployed to, or that were made by hand; by id."""
        deployed = {each.environment.id: each.created for each in reversed(project.deployments)}
        found = [
            each
            for each in project.environments
            if max(each.created, deployed.get(each.id, 0)) <= self._now and self._reads(project)
        ]
        if "name" in given:
            found = [each for each in found if each.name == given["name"]]
        if "search" in given:
            found = [each for each in found if given["search"] in each.name]
        if "states" in given:
            found = [each for each in found if each.state(self._now) in given["states"]]
        found.sort(key=attrgetter("id"))
        return Rows(found, [each.id for each in found])

    def downstream(self, seen: Seen, _given: Given) -> Rows:
        """Pipelines that its bridges triggered."""
        triggered = (self._visible(job.downstream) for job in seen[0].jobs)
        return in_order([each for each in triggered if each is not None])

    def stages(self, seen: Seen, _given: Given) -> Rows:
        """Names of the stages, in order."""
        there = (job.spec.stage for job in seen[0].jobs if job.created <= self._now)
        return in_order(list(dict.fromkeys(there)))

    def variables(self, seen: Seen, _given: Given) -> Rows:
        """What a pipeline was given; everybody who sees it is told the keys."""
        pipeline = seen[0]
        is_told = self._token is not None and self._token.reads_variables(pipeline)
        given = enumerate(pipeline.variables)
        return in_order([Variable(pipeline.id * 10 + place, key, value if is_told else None) for place, (key, value) in given])

    def artifacts(self, seen: JobSeen, _given: Given) -> Rows | None:
        """What a job left behind, once it is over; bridges cannot."""
        job, view, _ = seen
        if job.spec.kind != BUILD:
            return None
        return in_order(job.spec.artifacts if view.finished_at is not None and view.started_at is not None else ())

    def suites(self, report: Report, _given: Given) -> Rows:
        """The suites of a report in summary."""
        jobs = report[0].jobs
        return in_order(
            [
                {
                    **totals((suite,)),
                    "name": suite.name,
                    "builds": [str(job.id) for job in jobs if job.spec.name == suite.name and not job.retried_at],
                }
                for suite in report[1]
            ]
        )

    # -- single things ---------------------------------------------------------------------------------------

    def project(self, given: Given) -> Project | None:
        """By its path of now; former ones lead nowhere here."""
        found = self._world.project(given["fullPath"], self._now)
        return found if found is not None and self._sees(found) else None

    def group(self, given: Given) -> Group | None:
        """By its path, if it holds anything that the caller may see; the namespaces of users are no groups."""
        found = self._world.group(given["fullPath"])
        if found is None or found.is_user:
            return None
        if self._token is not None and not self._token.only:
            return found
        return found if any(self._is_in(each, found, deep=True) for each in self._wanted({})) else None

    def user(self) -> User | None:
        """Who asks."""
        return self._token.user if self._token else None

    def pipeline(self, project: Project, given: Given) -> Seen | None:
        """By id, number or sha, whatever kind it is. Raises FieldError."""
        if not given.keys() & {"id", "iid", "sha"}:
            raise FieldError("one of id, iid or sha is required")
        if not self._reads(project):
            return None
        if "id" not in given and "iid" not in given:
            return next(iter(self._listed(project, {"sha": given["sha"]})), None)
        place = bisect_left(project.pipelines, given["id"], key=attrgetter("id")) if "id" in given else 0
        candidates = project.pipelines[place : place + 1] if "id" in given else project.pipelines
        for each in candidates:
            if given.get("id", each.id) == each.id and given.get("iid", str(each.iid)) == str(each.iid):
                return self._visible(each)
        return None

    def upstream(self, seen: Seen) -> Seen | None:
        """What triggered a pipeline."""
        return self._visible(seen[0].upstream.pipeline) if seen[0].upstream else None

    def source_job(self, seen: Seen) -> JobSeen | None:
        """The bridge that triggered it."""
        upstream = seen[0].upstream
        return self._job(upstream.bridge, upstream.pipeline) if upstream and self._visible(upstream.pipeline) else None

    def downstream_of(self, seen: JobSeen) -> Seen | None:
        """What a bridge triggered."""
        return self._visible(seen[0].downstream)

    def home(self, seen: Seen) -> Project | None:
        """The project of a pipeline."""
        return seen[0].project if self._sees(seen[0].project) else None

    def merge_request(self, seen: Seen) -> MergeRequest | None:
        """What a pipeline is attached to."""
        return seen[0].merge_request

    def namespace(self, project: Project) -> Group | None:
        """The group of a project that is not somebody's own."""
        found = project.place(self._now).group
        return None if found.is_user else found

    def dora(self, project: Project) -> Project | None:
        """A project with the licence for DORA metrics."""
        return project if project.place(self._now).group.top.tier >= ULTIMATE else None

    def report(self, seen: Seen) -> Report:
        """A pipeline's test report."""
        return seen[0], seen[0].report_at(self._now)

    def totals(self, report: Report) -> dict[str, Any]:
        """A test report in summary."""
        return totals(report[1])

    def metrics(self, _project: Project) -> list[dict[str, Any]]:
        """DORA's four, of which one has a value."""
        return [{"deploymentFrequency": 3.0}]

    def is_latest(self, seen: Seen) -> bool:
        """Whether it is the newest of its ref."""
        pipeline = seen[0]
        newer = (one for one in reversed(pipeline.project.pipelines) if one.ref == pipeline.ref and one.at(self._now))
        return next((one for one in newer if not one.is_child), None) is pipeline

    def job_count(self, seen: Seen) -> int:
        """Jobs of a pipeline, retried ones left out."""
        return len(self.jobs(seen, {"retried": False}).things)

    def pipeline_status(self, seen: Seen) -> tuple[str, bool]:
        """Its status, and whether that is with warnings."""
        return self._profile.says(seen[1].status), seen[1].warnings and seen[1].status == "success"

    def job_status(self, seen: JobSeen) -> tuple[str, bool]:
        """As of a pipeline."""
        return self._profile.says(seen[1].status), seen[0].spec.allow_failure and seen[1].status == "failed"

    def _reads(self, project: Project) -> bool:
        """Whether the caller may see the project's pipelines."""
        is_member = self._token is not None and self._token.role >= REPORTER
        return project.builds_enabled and (is_member or project.visibility == "public")

    def _sees(self, project: Project) -> bool:
        return project.visibility == "public" if self._token is None else self._token.sees(project)

    def _visible(self, pipeline: Pipeline | None) -> Seen | None:
        if pipeline is None or not self._sees(pipeline.project):
            return None
        view = pipeline.at(self._now)
        return None if view is None else (pipeline, view)

    def _job(self, job: Job, pipeline: Pipeline) -> JobSeen | None:
        view = job.at(self._now)
        return None if view is None else (job, view, pipeline)

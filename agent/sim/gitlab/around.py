"""The REST API's projects, groups, environments, deployments and what else stands around the pipelines."""

from __future__ import annotations

import json

from agent.sim.gitlab import finders, showcase
from agent.sim.gitlab.asked import Call, Found, RequestError, by_key, choice, flag, listed, moment
from agent.sim.gitlab.finders import Wanted
from agent.sim.gitlab.objects import Pipeline
from agent.sim.gitlab.places import PREMIUM, REPORTER, ULTIMATE, Deployment, Group, Project, Ref, World
from agent.sim.gitlab.runs import readable

DEPLOYED = ("created", "running", "success", "failed", "canceled", "skipped", "blocked")
DORA = ("deployment_frequency", "lead_time_for_changes", "time_to_restore_service", "change_failure_rate")
UNPAIRED = "`updated_at` filter and `updated_at` sorting must be paired"
_PROJECT_ORDERS = ("id", "name", "path", "created_at", "updated_at", "last_activity_at", "similarity")


class Around:
    """Handlers of one world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def project(self, call: Call) -> Found:
        """One project."""
        body = showcase.full_project(
            call.bodies, call.here, call.now, call.token, statistics=bool(flag(call, "statistics", False))
        )
        return Found(json.dumps(body))

    def projects(self, call: Call) -> Found:
        """All projects that the caller sees; a member sees all of those."""
        return self._projects(call, self._seen(call), bounded=True)

    def _seen(self, call: Call) -> list[Project]:
        if call.token:
            return list(self._world.visible(call.token, call.now))
        return [each for each in self._world.projects if each.exists(call.now) and each.visibility == "public"]

    def _projects(self, call: Call, found: list[Project], *, bounded: bool = False) -> Found:
        archived, search = flag(call, "archived"), searched(call).lower()
        found = [
            each
            for each in found
            if archived in (None, each.archived) and search in each.path_at(call.now).rpartition("/")[2].lower()
        ]

        def render(each: Project) -> str:
            if flag(call, "simple", False):
                return json.dumps(showcase.short_project(call.bodies, each, call.now))
            return json.dumps(showcase.full_project(call.bodies, each, call.now, call.token, statistics=False))

        order = choice(call, "order_by", _PROJECT_ORDERS, "created_at")
        if call.query.get("pagination") == "keyset":
            if order != "id":
                raise RequestError(405, {"error": "Keyset pagination is not yet available for this type of request"})
            return by_key(call, found, _id, render)
        if order == "id":
            found.sort(key=_id)
        elif order in ("name", "path"):
            found.sort(key=lambda each: each.path_at(call.now).rpartition("/")[2])
        else:
            found.sort(key=lambda each: (each.created, each.id))
        if choice(call, "sort", ("asc", "desc"), "desc") == "desc":
            found.reverse()
        return listed(call, found, render, bounded=bounded)

    def _group(self, call: Call) -> Group:
        key = call.path["group"]
        found = self._world.group(int(key) if key.isdigit() else key)
        if found is None or found.is_user or call.token is None:
            raise RequestError(404, "404 Group Not Found")
        return found

    def group(self, call: Call) -> Found:
        """One group."""
        return Found(json.dumps(showcase.group(call.bodies, self._group(call))))

    def groups(self, call: Call) -> Found:
        """All groups."""
        found = [each for each in self._world.groups if not each.is_user and call.token]
        return listed(call, found, lambda each: json.dumps(showcase.group(call.bodies, each)))

    def group_projects(self, call: Call) -> Found:
        """The projects of a group, those of its subgroups where that is asked for."""
        group, is_deep = self._group(call), flag(call, "include_subgroups", False)
        found = []
        for each in self._seen(call):
            home = each.place(call.now).group
            if home is group or (is_deep and home.is_within(group)):
                found.append(each)
        if flag(call, "with_shared", True) and (foreign := [each for each in self._seen(call) if each.ordinal % 40 == 7]):
            found += [each for each in foreign if each not in found and group.path == "harbour"]
        return self._projects(call, found)

    def user_projects(self, call: Call) -> Found:
        """The projects of somebody's own namespace."""
        name = call.path["user"].lower()
        home = next((each for each in self._world.groups if each.is_user and name == each.path.lower()), None)
        if home is None:
            raise RequestError(404, "404 User Not Found")
        return self._projects(call, [each for each in self._seen(call) if each.place(call.now).group is home])

    def environments(self, call: Call) -> Found:
        """The environments of a project."""
        project, search = readable(call), searched(call)
        state = choice(call, "states", ("available", "stopping", "stopped"))
        deployed = {each.environment.id: each.created for each in reversed(project.deployments)}
        found = [
            each
            for each in project.environments
            if max(each.created, deployed.get(each.id, 0)) <= call.now
            and search in each.name
            and state in ("", each.state(call.now))
            and call.query.get("name", each.name) == each.name
        ]
        return listed(call, found, lambda each: json.dumps(showcase.environment(call.bodies, project, each, call.now)))

    def environment(self, call: Call) -> Found:
        """One environment with its last deployment."""
        project, wanted = readable(call), int(call.path["environment"])
        found = next((each for each in project.environments if each.id == wanted), None)
        if found is None:
            raise RequestError(404, "404 Environment Not Found")
        made = [each for each in project.deployments if each.environment is found and each.at(call.now) == "success"]
        last = json.loads(self._deployment(call, max(made, key=lambda each: each.ended))) if made else None
        body = showcase.environment(call.bodies, project, found, call.now)
        return Found(json.dumps({**body, "last_deployment": last}))

    def deployments(self, call: Call) -> Found:
        """The deployments of a project; the oldest first unless told otherwise."""
        project = readable(call)
        order = choice(call, "order_by", ("id", "iid", "created_at", "updated_at", "ref", "finished_at"), "id")
        status, name = choice(call, "status", DEPLOYED), call.query.get("environment", "")
        after, before = moment(call, "updated_after"), moment(call, "updated_before")
        has_update, has_finish = bool(after or before), any(f"finished_{side}" in call.query for side in ("after", "before"))
        if has_update != (order == "updated_at") or (has_finish and has_update):
            raise RequestError(400, UNPAIRED)
        if has_finish != (order == "finished_at") or (has_finish and status != "success"):
            raise RequestError(400, "`finished_at` filter and `finished_at` sorting must be paired")
        found = [
            each
            for each in project.deployments
            if each.created <= call.now
            and status in ("", each.at(call.now))
            and name in ("", each.environment.name)
            and (after is None or _changed(each, call.now) >= after)
            and (before is None or _changed(each, call.now) <= before)
        ]
        if order in ("updated_at", "finished_at"):
            found.sort(key=lambda each: (_changed(each, call.now), each.id))
        elif order == "ref":
            found.sort(key=lambda each: (each.ref, each.id))
        if choice(call, "sort", ("asc", "desc"), "asc") == "desc":
            found.reverse()
        return listed(call, found, lambda each: self._deployment(call, each))

    def _deployment(self, call: Call, each: Deployment) -> str:
        where, bodies = each.environment, call.bodies
        shown = {"id": where.id, "name": where.name, "slug": where.name.replace("/", "-")}
        head = {
            "id": each.id,
            "iid": each.iid,
            "ref": each.ref,
            "sha": each.sha,
            "created_at": showcase.stamp(bodies, each.created, each.id),
            "updated_at": showcase.stamp(bodies, each.updated(call.now), each.id),
            "user": bodies.user(each.user),
            "environment": {**shown, "external_url": where.external_url or None},
            "status": each.at(call.now),
        }
        return f'{json.dumps(head)[:-1]},"deployable":{self._deployable(call, each)}}}'

    def _deployable(self, call: Call, each: Deployment) -> str:
        """Its job; null for one made through the API, and when the pipeline has been deleted."""
        view = each.pipeline.at(call.now) if each.pipeline else None
        seen = each.job.at(call.now) if each.job else None
        if each.pipeline is None or each.job is None or view is None or seen is None:
            return "null"
        around = call.bodies.around(each.pipeline, view, call.here.path_at(call.now))
        return call.bodies.job(each.job, seen, around)

    def compare(self, call: Call) -> Found:
        """The commits of `to`, a branch, that are newer than `from`, a commit or branch."""
        project = readable(call)
        begin, end = (self._commit(call, project, call.query.get(name, "")) for name in ("from", "to"))
        made = self._commits(call, project, call.query["to"])
        between = [each for each in made if begin[1] < each.created <= end[1]]
        path = project.path_at(call.now)
        commits = [call.bodies.commit(path, each.sha, each.created - 300, each.user) for each in reversed(between)]
        body = {
            "commit": commits[-1] if commits else None,
            "commits": commits,
            "diffs": [],
            "compare_timeout": False,
            "compare_same_ref": begin[0] == end[0],
            "web_url": f"{call.bodies.base}/{path}/-/compare/{begin[0]}...{end[0]}",
        }
        return Found(json.dumps(body), nodes=1 + len(commits))

    def _commits(self, call: Call, project: Project, branch: str) -> list[Pipeline]:
        """What a branch's pipelines ran for, the newest first: each is a commit of it."""
        rows = finders.pipelines(project, Wanted(ref=branch), call.now)
        return [pipeline for pipeline, _ in rows if pipeline.kind == "branch"]

    def _commit(self, call: Call, project: Project, name: str) -> tuple[str, int]:
        """(sha, when) of a commit or of the head of a branch. Raises RequestError (404) where there is none."""
        for pipeline in project.pipelines:
            if pipeline.sha == name and pipeline.created <= call.now:
                return name, pipeline.created
        if any(ref.name == name and ref.exists(call.now) for ref in project.branches):
            head = next(iter(self._commits(call, project, name)), None)
            return (head.sha, head.created) if head else (showcase.first_sha(project, name), project.created)
        raise RequestError(404, "404 Ref Not Found" if name else "404 Not found")

    def branches(self, call: Call) -> Found:
        """The branches of a project."""
        project, search = readable(call), call.query.get("search", "")
        found = [ref for ref in project.branches if ref.exists(call.now) and search in ref.name]
        return listed(call, found, lambda ref: self._branch(call, project, ref))

    def branch(self, call: Call) -> Found:
        """One branch."""
        project = readable(call)
        for ref in project.branches:
            if ref.name == call.path["branch"] and ref.exists(call.now):
                return Found(self._branch(call, project, ref))
        raise RequestError(404, "404 Branch Not Found")

    def _branch(self, call: Call, project: Project, ref: Ref) -> str:
        head = next(iter(self._commits(call, project, ref.name)), None)
        return json.dumps(showcase.branch(call.bodies, project, ref, head, call.now))

    def merge_requests(self, call: Call) -> Found:
        """The merge requests of a project."""
        project, state = readable(call), choice(call, "state", ("opened", "closed", "locked", "merged", "all"), "all")
        iids = call.many.get("iids", ())
        found = [
            each
            for each in reversed(project.merge_requests)
            if each.created <= call.now and state in ("all", each.state(call.now)) and (not iids or str(each.iid) in iids)
        ]
        return listed(call, found, lambda each: json.dumps(showcase.merge_request(call.bodies, project, each, call.now)))

    def dora(self, call: Call) -> Found:
        """DORA metrics, which take Ultimate and a role."""
        if not call.bodies.profile.is_enterprise:
            raise RequestError(404, {"error": "404 Not Found"})
        group = self._group(call) if "group" in call.path else call.here.place(call.now).group
        metric = call.query.get("metric", "")
        if not metric:
            raise RequestError(400, {"error": "metric is missing"})
        choice(call, "metric", DORA)
        if group.top.tier < ULTIMATE or call.token is None or call.token.role < REPORTER:
            raise RequestError(401, "401 Unauthorized")
        return Found(json.dumps([{"date": "2026-03-02", "value": 3 if metric == DORA[0] else None}]))

    def group_activity(self, call: Call) -> Found:
        """What has been done in a group lately, which takes Premium."""
        if not call.bodies.profile.is_enterprise:
            raise RequestError(404, {"error": "404 Not Found"})
        path = call.query.get("group_path", "")
        if not path:
            raise RequestError(400, {"error": "group_path is missing"})
        found = self._group(call._replace(path={**call.path, "group": path}))
        if found.top.tier < PREMIUM:
            raise RequestError(403, "403 Forbidden")
        return Found(json.dumps({call.path["counted"]: 4}))

    def own_token(self, call: Call) -> Found:
        """What is known of the token that asks."""
        token = call.token
        if token is None:
            raise RequestError(401, "401 Unauthorized")
        body = {
            "id": 5_000 + token.user.id,
            "name": "metrics",
            "revoked": False,
            "created_at": "2025-06-01T08:00:00.000Z",
            "description": None,
            "scopes": list(token.scopes),
            "user_id": token.user.id,
            "last_used_at": showcase.stamp(call.bodies, int(call.now)),
            "active": True,
            "expires_at": None,
        }
        return Found(json.dumps(body))

    def user(self, call: Call) -> Found:
        """Who asks."""
        if call.token is None:
            raise RequestError(401, "401 Unauthorized")
        return Found(json.dumps(call.bodies.profile_of(call.token.user)))

    def metadata(self, call: Call) -> Found:
        """Version and edition; `/version` tells the first two only."""
        profile = call.bodies.profile
        body = {"version": profile.version, "revision": profile.revision}
        if call.path.get("what") == "version":
            return Found(json.dumps(body))
        kas = {"enabled": False, "externalUrl": None, "externalK8sProxyUrl": None, "version": None}
        return Found(json.dumps({**body, "kas": kas, "enterprise": profile.is_enterprise}))


def searched(call: Call) -> str:
    """What a list's names must have in them. Raises RequestError (400) for less than three characters."""
    search = call.query.get("search", "")
    if 0 < len(search) < 3:
        raise RequestError(400, {"message": "400 Bad request - Search query is less than 3 characters"})
    return search


def _id(project: Project) -> int:
    return project.id


def _changed(deployment: Deployment, now: float) -> float:
    """When it changed last, with the milliseconds that are told."""
    return deployment.updated(now) + deployment.id % 1000 / 1000

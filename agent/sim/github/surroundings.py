"""What the API tells beside runs: repositories, runners, the App, addresses.

https://docs.github.com/en/rest/repos/repos, https://docs.github.com/en/rest/actions/self-hosted-runners,
https://docs.github.com/en/rest/apps/apps and https://docs.github.com/en/rest/meta/meta.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from agent.sim.github import catalogue
from agent.sim.github.access import INSTALLATION_ID, Access
from agent.sim.github.found import Call, Found, RequestError, page
from agent.sim.github.objects import Json, account, full_repository, moment, node_id
from agent.sim.github.plan import Pool, Repository, Runner
from agent.sim.github.world import World

HOOK_NETWORKS = ("127.0.0.0/8", "::1/128", "192.0.2.0/25", "2001:db8:6f::/48")
"""Where deliveries come from: this machine, and addresses for documentation (RFC 5737, RFC 3849)."""
PERMISSIONS = {"actions": "read", "metadata": "read", "organization_hooks": "read", "organization_self_hosted_runners": "read"}


class Surroundings:
    """Repositories, runners and the App of one world."""

    def __init__(self, world: World, access: Access, app_id: int) -> None:
        self._world = world
        self._access = access
        self._app_id = app_id
        self._pushes = {name: [run.created for run in runs if run.event == "push"] for name, runs in world.of_repository.items()}
        self._runners = _used_runners(world)

    def repository(self, repository: Repository, now: float) -> Json:
        """A repository as of now."""
        pushes = self._pushes[repository.full_name]
        count = bisect_right(pushes, now)
        pushed = {"pushed_at": moment(pushes[count - 1])} if count else {}
        return full_repository(repository) | pushed

    def organization_repositories(self, call: Call) -> Found:
        """GET /orgs/{org}/repos."""
        self._must_be_owner(call.path["org"])
        return self._repositories(call, self._world.repositories)

    def user_repositories(self, call: Call) -> Found:
        """GET /users/{user}/repos: the public ones."""
        self._must_be_owner(call.path["user"])
        return self._repositories(call, [repository for repository in self._world.repositories if not repository.private])

    def own_repositories(self, call: Call) -> Found:
        """GET /user/repos."""
        if call.caller.kind != "token":
            raise RequestError(403, "Resource not accessible by integration")
        return self._repositories(call, self._world.repositories)

    def own_user(self, call: Call) -> Found:
        """GET /user."""
        if call.caller.kind != "token":
            raise RequestError(403, "Resource not accessible by integration")
        return Found("user", lambda: account("robot-of-tinkers"))

    def installed_repositories(self, call: Call) -> Found:
        """GET /installation/repositories."""
        if call.caller.kind != "installation":
            raise RequestError(403, "You must authenticate with an installation access token in order to list repositories")
        found = self._repositories(call, self._world.repositories)
        total = len(self._world.repositories)
        wrapped = {"total_count": total, "repository_selection": "all"}
        return Found(found.version, lambda: {**wrapped, "repositories": found.build()}, found.next)

    def runners(self, call: Call) -> Found:
        """GET /orgs/{org}/actions/runners: one's own; those of a scale set only while they have a job."""
        self._must_be_owner(call.path["org"])
        listed = []
        for runner in sorted(self._runners, key=lambda runner: runner.id):
            is_busy = self._is_busy(runner, call.now)
            if runner.pool in (catalogue.FARM, catalogue.MACS, catalogue.GPUS) or (
                runner.pool is catalogue.SCALE_SET and is_busy
            ):
                listed.append((runner, is_busy))
        shown, following = page(call, listed)
        return Found(
            [(runner.id, is_busy) for runner, is_busy in shown],
            lambda: {"total_count": len(listed), "runners": [_runner_object(*each) for each in shown]},
            following,
        )

    def hosted_runners(self, call: Call) -> Found:
        """GET /orgs/{org}/actions/hosted-runners: the larger ones that GitHub runs."""
        self._must_be_owner(call.path["org"])
        pools = (catalogue.XLARGE, catalogue.BIG)
        return Found("hosted", lambda: {"total_count": len(pools), "runners": [_hosted_object(pool) for pool in pools]})

    def runner_groups(self, call: Call) -> Found:
        """GET /orgs/{org}/actions/runner-groups."""
        self._must_be_owner(call.path["org"])
        names = {pool.group_id: pool.group for pool in catalogue.POOLS}
        groups = [
            {"id": identity, "name": name, "visibility": "all", "default": name == "Default", "inherited": False}
            for identity, name in sorted(names.items())
        ]
        return Found("groups", lambda: {"total_count": len(groups), "runner_groups": groups})

    def no_runners(self, _call: Call) -> Found:
        """GET /repos/{owner}/{repo}/actions/runners: no repository has its own."""
        return Found("none", lambda: {"total_count": 0, "runners": []})

    def installations(self, call: Call) -> Found:
        """GET /app/installations."""
        _must_be_app(call)
        return Found("installations", lambda: [self._installation()])

    def installation(self, call: Call) -> Found:
        """GET /orgs/{org}/installation and /app/installations/{id}."""
        _must_be_app(call)
        if int(call.path.get("installation_id", INSTALLATION_ID)) != INSTALLATION_ID:
            raise RequestError(404, "Not Found")
        return Found("installation", self._installation)

    def access_token(self, call: Call) -> Found:
        """POST /app/installations/{id}/access_tokens."""
        self.installation(call)
        token, expires = self._access.issue(call.now)
        answer = {"token": token, "expires_at": moment(expires), "permissions": PERMISSIONS, "repository_selection": "all"}
        return Found(token, lambda: answer, status=201)

    def meta(self, _call: Call) -> Found:
        """GET /meta."""
        networks = list(HOOK_NETWORKS)
        return Found("meta", lambda: {"verifiable_password_authentication": False, "hooks": networks, "actions": [], "api": []})

    def _must_be_owner(self, name: str) -> None:
        if name.lower() != self._world.owner.lower():
            raise RequestError(404, "Not Found")

    def _repositories(self, call: Call, repositories: Sequence[Repository]) -> Found:
        shown, following = page(call, repositories)
        pushed = [bisect_right(self._pushes[repository.full_name], call.now) for repository in shown]
        return Found(
            ([repository.id for repository in shown], pushed),
            lambda: [self.repository(repository, call.now) for repository in shown],
            following,
        )

    def _is_busy(self, runner: Runner, now: float) -> bool:
        return any(started <= now < completed for started, completed in self._runners[runner])

    def _installation(self) -> Json:
        owner = account(self._world.owner, self._world.owner_id, "Organization")
        return {
            "id": INSTALLATION_ID,
            "account": owner,
            "app_id": self._app_id,
            "target_type": "Organization",
            "permissions": PERMISSIONS,
            "suspended_at": None,
        }


def _must_be_app(call: Call) -> None:
    if call.caller.kind != "app":
        raise RequestError(401, "A JSON web token could not be decoded")


def _used_runners(world: World) -> dict[Runner, list[tuple[int, int]]]:
    """When each runner that is ever used has a job."""
    used: dict[Runner, list[tuple[int, int]]] = {}
    for _run, attempt in world.attempts():
        for job in attempt.jobs:
            if job.runner:
                used.setdefault(job.runner, []).append((job.started, job.completed))
    return used


def _runner_object(runner: Runner, is_busy: bool) -> Json:
    return {
        "id": runner.id,
        "runner_group_id": runner.pool.group_id,
        "name": runner.name,
        "os": runner.pool.os,
        "status": "online" if is_busy or runner.id % 7 else "offline",
        "busy": is_busy,
        "ephemeral": runner.pool is catalogue.SCALE_SET,
        "version": "2.331.0",
        "labels": [{"id": place + 1, "name": name, "type": "custom"} for place, name in enumerate(runner.pool.labels)],
    }


def _hosted_object(pool: Pool) -> Json:
    return {
        "id": pool.group_id,
        "name": pool.labels[0],
        "node_id": node_id("HR", pool.group_id),
        "runner_group_id": pool.group_id,
        "platform": f"{pool.os}-x64",
        "status": "Ready",
        "maximum_runners": pool.size,
        "machine_size_details": {"id": "16-core", "cpu_cores": 16, "memory_gb": 64, "storage_gb": 600},
    }

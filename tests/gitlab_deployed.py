"""A project that is deployed, behind the API, and the collector that reads it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from agent.sources.gitlab.environments import Environments, Watched
from agent.sources.gitlab.families import families
from agent.sources.gitlab.options import ProjectOptions
from tests.gitlab_rest import NOW, SHOP, GitLab, Json, clock, moment, options

ROOT = "/projects/7"


def deployment(number: int, status: str = "success", updated: int = NOW - 10, **more: Any) -> Json:
    """As the API lists it, by a job that ran for 40 seconds."""
    commit = {"committed_date": moment(NOW - 5000)}
    job = {"id": 1, "finished_at": moment(updated), "duration": 40.7, "commit": commit}
    found = {"id": number, "status": status, "sha": "c0ffee", "updated_at": moment(updated), "created_at": moment(updated - 60)}
    return found | {"environment": {"name": "production"}, "deployable": job} | more


class World:
    """A project with deployments behind the API, and what the sync knows of it."""

    def __init__(self, *deployments: Json, since: int = NOW - 100, **keys: Any) -> None:
        self.deployments = list(deployments)
        self.gitlab = GitLab()
        self.gitlab.more[f"{ROOT}/deployments"] = self._listed
        self.gitlab.more[f"{ROOT}/environments"] = [{"name": "production", "state": "available"}]
        self.commits: list[Json] = []
        self.head = "beef"
        self.gitlab.more[f"{ROOT}/repository/branches/main"] = lambda given: {"name": "main", "commit": {"id": self.head}}
        self.gitlab.more[f"{ROOT}/repository/compare"] = lambda given: {"commits": self.commits}
        self.watched = [Watched(SHOP, ProjectOptions(), since, 0.0)]
        self.options = options(collectors={"environments": {"enabled": True, **keys}})
        self.families = families(self.options)
        self.environments = self.anew()

    def anew(self) -> Environments:
        """The collector as after a restart."""
        return Environments(self.gitlab, "gitlab.test", self.options, self.families, lambda: self.watched, clock)

    def stir(self) -> None:
        """Something happens in the project."""
        self.watched = [each._replace(active=clock()) for each in self.watched]

    def _listed(self, given: Mapping[str, str]) -> list[Json]:
        after = datetime.fromisoformat(given["updated_after"]).isoformat() if "updated_after" in given else ""
        found = [each for each in self.deployments if datetime.fromisoformat(each["updated_at"]).isoformat() > after]
        key = "updated_at" if given["order_by"] == "updated_at" else "id"
        return sorted(found, key=lambda each: each[key], reverse=given["sort"] == "desc")

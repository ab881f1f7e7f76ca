"""Asking a simulated GitLab by GraphQL, and the queries that the tests share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from agent.sim.gitlab.flat import TOKEN
from agent.sim.gitlab.graphql import answer
from agent.sim.gitlab.objects import Pipeline, PipelineView
from agent.sim.gitlab.places import Project, World
from agent.sim.gitlab.profile import EE_18, Profile
from agent.sim.gitlab.world import build

ONE = "gid://gitlab/Ci::Pipeline/"
HOURS = 6 * 3600
EVERYTHING = """
query Everything($ids: [ID!], $after: Time) {
  projects(ids: $ids, first: 50, sort: "id_asc") {
    count
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    nodes {
      id name path fullPath archived visibility createdAt webUrl
      group { id name path fullPath } repository { rootRef exists empty }
      pipelines(updatedAfter: $after, first: 20) { count pageInfo { hasNextPage endCursor } nodes { ...P } }
    }
  }
}
fragment P on Pipeline {
  id iid status source ref refPath sha type child coverage createdAt startedAt finishedAt updatedAt duration queuedDuration
  warnings complete active latest yamlErrors failureReason totalJobs mergeRequest { id iid state }
  upstream { id ref refPath project { fullPath } } sourceJob { name } detailedStatus { group text label }
  user { id username name }
}
"""
"""Most fields of projects and pipelines."""
JOBS = """
query Jobs($path: ID!, $pipeline: CiPipelineID) {
  project(fullPath: $path) {
    pipeline(id: $pipeline) {
      downstream(first: 5) { nodes { id } } stages(first: 5) { nodes { name } }
      jobs(first: 100) { count pageInfo { hasNextPage endCursor } edges { cursor } nodes { ...J } }
      testReportSummary {
        total { time count success failed skipped error suiteError }
        testSuites(first: 9) {
          nodes {
            name totalTime totalCount successCount failedCount skippedCount errorCount suiteError buildIds
          }
        }
      }
    }
  }
}
fragment J on CiJob {
  id name status kind stage { name } allowFailure createdAt queuedAt startedAt finishedAt duration queuedDuration retried
  runner { runnerType description shortSha } failureMessage artifacts { nodes { name size fileType } } coverage refName tags
  detailedStatus { group } downstreamPipeline { id } manualJob
}
"""
"""All fields of jobs and test reports."""
AROUND = """
query Around($path: ID!, $group: ID!) {
  metadata { version revision enterprise } queryComplexity { score limit } currentUser { id username name }
  group(fullPath: $group) { id name path fullPath projects(includeSubgroups: true, first: 3) { nodes { id } } }
  project(fullPath: $path) {
    jobs(first: 2) { nodes { id } pageInfo { hasNextPage } }
    environments(first: 5) { nodes { id name state tier externalUrl } }
    dora {
      metrics(interval: ALL, environmentTiers: [PRODUCTION], startDate: "2026-03-02") {
        date deploymentFrequency leadTimeForChanges timeToRestoreService changeFailureRate
      }
    }
  }
}
"""
"""What else there is."""


class Told(NamedTuple):
    """An answer."""

    status: int
    data: Any
    errors: list[dict[str, Any]]
    nodes: int
    complexity: int

    @property
    def messages(self) -> list[str]:
        """What the errors say."""
        return [error["message"] for error in self.errors]


@cache
def small() -> World:
    """A world of some hours with all that happens to pipelines."""
    return build(3, seconds=HOURS, projects=24, pipelines=160, haste=6.0)


def ask(
    text: str,
    variables: Mapping[str, Any] | None = None,
    *,
    world: World | None = None,
    token: str | None = TOKEN,
    profile: Profile = EE_18,
    at: float | None = None,
    most_nodes: int | None = None,
) -> Told:
    """The answer to a query at a moment, by default when everything in the world is over; `token` None = anonymous."""
    there = small() if world is None else world
    now = there.end + 1 if at is None else at
    body = json.dumps({"query": text, "variables": variables}).encode()
    found = answer(there, None if token is None else there.tokens[token], profile, now, body, most_nodes=most_nodes)
    told = json.loads(found.body)
    return Told(found.status, told.get("data"), told.get("errors", []), found.nodes, found.complexity)


def gid(of_type: str, number: int) -> str:
    """A global id."""
    return f"gid://gitlab/{of_type}/{number}"


def seen(project: Project, at: float) -> list[tuple[Pipeline, PipelineView]]:
    """The pipelines that are there, newest first."""
    found = ((pipeline, pipeline.at(at)) for pipeline in reversed(project.pipelines))
    return [(pipeline, view) for pipeline, view in found if view is not None]

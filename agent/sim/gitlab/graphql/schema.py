"""The part of GitLab's GraphQL schema that is simulated: types, their fields, and what those cost.

Names, types and arguments are those of https://docs.gitlab.com/api/graphql/reference/; what is missing here a query is
told does not exist. Versions are the first ones that are simulated to have a field.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from agent.sim.gitlab.profile import Profile

SCALARS = frozenset(
    {"ID", "Int", "Float", "String", "Boolean", "Time", "Date", "Duration", "BigInt", "CiPipelineID", "JobID", "UserID"}
)
_STATUSES = (
    *("CREATED", "WAITING_FOR_RESOURCE", "PREPARING", "WAITING_FOR_CALLBACK", "PENDING", "RUNNING", "FAILED", "SUCCESS"),
    *("CANCELED", "CANCELING", "SKIPPED", "MANUAL", "SCHEDULED"),
)
_NEWER_STATUSES = frozenset({"WAITING_FOR_CALLBACK", "CANCELING"})
_ENUMS: dict[str, tuple[str, ...]] = {
    "PipelineStatusEnum": _STATUSES,
    "CiJobStatus": _STATUSES,
    "PipelineScopeEnum": ("RUNNING", "PENDING", "FINISHED", "BRANCHES", "TAGS"),
    "CiJobKind": ("BUILD", "BRIDGE"),
    "CiRunnerType": ("INSTANCE_TYPE", "GROUP_TYPE", "PROJECT_TYPE"),
    "JobArtifactFileType": ("ARCHIVE", "METADATA", "TRACE", "JUNIT", "DOTENV", "COBERTURA", "SAST", "CODEQUALITY"),
    "MergeRequestState": ("merged", "opened", "closed", "locked", "all"),
    "ProjectArchived": ("ONLY", "INCLUDE", "EXCLUDE"),
    "DoraMetricBucketingInterval": ("ALL", "MONTHLY", "DAILY"),
    "DeploymentTier": ("PRODUCTION", "STAGING", "TESTING", "DEVELOPMENT", "OTHER"),
}

_PAGE = "after: String, before: String, first: Int, last: Int"
_PROJECTS = (
    f"ids: [ID!], fullPaths: [String!], search: String, membership: Boolean, sort: String, archived: ProjectArchived, {_PAGE}"
)
_GROUP_PROJECTS = f"includeSubgroups: Boolean, includeArchived: Boolean, search: String, ids: [ID!], {_PAGE}"
_PIPELINES = (
    "status: PipelineStatusEnum, scope: PipelineScopeEnum, ref: String, sha: String, source: String, "
    f"updatedAfter: Time, updatedBefore: Time, username: String, {_PAGE}"
)
_DORA = "startDate: Date, endDate: Date, interval: DoraMetricBucketingInterval, environmentTiers: [DeploymentTier!]"

_TYPES: dict[str, tuple[str, ...]] = {
    "Query": (
        f"projects({_PROJECTS}): ProjectConnection @resolver",
        "project(fullPath: ID!): Project @resolver",
        "group(fullPath: ID!): Group @resolver",
        "metadata: Metadata @resolver",
        "currentUser: CurrentUser",
        "queryComplexity: QueryComplexity",
    ),
    "Metadata": ("version: String!", "revision: String!", "enterprise: Boolean!"),
    "QueryComplexity": ("score: Int", "limit: Int"),
    "CurrentUser": ("id: UserID!", "username: String!", "name: String!"),
    "Group": (
        *("id: ID", "name: String", "path: String!", "fullPath: ID!"),
        f"projects({_GROUP_PROJECTS}): ProjectConnection! @resolver",
    ),
    "Project": (
        *("id: ID!", "name: String!", "path: String!", "fullPath: ID!", "archived: Boolean", "visibility: String"),
        *("createdAt: Time", "webUrl: String", "group: Group", "repository: Repository"),
        f"pipelines({_PIPELINES}): PipelineConnection @resolver",
        "pipeline(id: CiPipelineID, iid: ID, sha: String): Pipeline @resolver",
        f"jobs(statuses: [CiJobStatus!], kind: CiJobKind, {_PAGE}): CiJobConnection @resolver @once",
        f"environments(name: String, search: String, states: [String!], {_PAGE}): EnvironmentConnection @resolver @once",
        "dora: Dora @resolver @enterprise",
    ),
    "Repository": ("rootRef: String @gitaly", "exists: Boolean! @gitaly", "empty: Boolean! @gitaly"),
    "Dora": (f"metrics({_DORA}): [DoraMetric!] @resolver",),
    "DoraMetric": (
        *("date: String", "deploymentFrequency: Float", "leadTimeForChanges: Float"),
        *("timeToRestoreService: Float", "changeFailureRate: Float"),
    ),
    "Environment": ("id: ID!", "name: String!", "state: String!", "tier: DeploymentTier", "externalUrl: String"),
    "Pipeline": (
        *("id: ID!", "iid: String!", "status: PipelineStatusEnum!", "source: String @since 17", "ref: String"),
        *("refPath: String", "sha: String", "type: String! @since 17", "child: Boolean! @since 17", "coverage: Float"),
        *("createdAt: Time!", "startedAt: Time", "finishedAt: Time", "updatedAt: Time!", "duration: Int"),
        *("queuedDuration: Duration", "warnings: Boolean!", "complete: Boolean!", "active: Boolean!"),
        *("latest: Boolean! @since 17", "yamlErrors: Boolean! @since 17", "failureReason: String @since 17", "totalJobs: Int!"),
        *("mergeRequest: MergeRequest @since 17", "upstream: Pipeline", f"downstream({_PAGE}): PipelineConnection"),
        *("sourceJob: CiJob", "detailedStatus: DetailedStatus!", "project: Project", "user: UserCore"),
        f"jobs(jobKind: CiJobKind, retried: Boolean, statuses: [CiJobStatus!], {_PAGE}): CiJobConnection @resolver",
        f"stages({_PAGE}): CiStageConnection @resolver",
        "testReportSummary: TestReportSummary! @resolver",
        f"manualVariables({_PAGE}): PipelineManualVariableConnection @since 17",
    ),
    "PipelineManualVariable": ("id: ID!", "key: String", "value: String"),
    "UserCore": ("id: UserID!", "username: String!", "name: String!"),
    "MergeRequest": ("id: ID!", "iid: String!", "state: MergeRequestState!"),
    "DetailedStatus": ("group: String", "text: String", "label: String"),
    "CiJob": (
        *("id: JobID", "name: String", "status: CiJobStatus", "kind: CiJobKind!", "stage: CiStage", "allowFailure: Boolean!"),
        *("createdAt: Time!", "queuedAt: Time", "startedAt: Time", "finishedAt: Time", "duration: Int"),
        *("queuedDuration: Duration", "retried: Boolean", "runner: CiRunner", "failureMessage: String"),
        *(f"artifacts({_PAGE}): CiJobArtifactConnection", "coverage: Float", "refName: String", "tags: [String!]"),
        *("detailedStatus: DetailedStatus", "downstreamPipeline: Pipeline", "manualJob: Boolean"),
    ),
    "CiStage": ("name: String",),
    "CiRunner": ("runnerType: CiRunnerType!", "description: String", "shortSha: String"),
    "CiJobArtifact": ("name: String", "size: BigInt!", "fileType: JobArtifactFileType"),
    "TestReportSummary": ("total: TestReportTotal!", f"testSuites({_PAGE}): TestSuiteSummaryConnection!"),
    "TestReportTotal": (
        *("time: Float", "count: Int", "success: Int", "failed: Int", "skipped: Int", "error: Int", "suiteError: String"),
    ),
    "TestSuiteSummary": (
        *("name: String", "totalTime: Float", "totalCount: Int", "successCount: Int", "failedCount: Int"),
        *("skippedCount: Int", "errorCount: Int", "suiteError: String", "buildIds: [ID!]"),
    ),
    "PageInfo": ("hasNextPage: Boolean!", "hasPreviousPage: Boolean!", "startCursor: String", "endCursor: String"),
}
_COUNTED = ("Project", "Pipeline", "CiJob", "TestSuiteSummary")
"""Types whose connections have a count."""
_UNCOUNTED = ("CiJobArtifact", "CiStage", "Environment", "PipelineManualVariable")

_INTROSPECTION: dict[str, tuple[str, ...]] = {
    "__Schema": ("queryType: __Type!", "types: [__Type!]!"),
    "__Type": (
        *("kind: __TypeKind!", "name: String", "fields(includeDeprecated: Boolean): [__Field!]"),
        *("enumValues(includeDeprecated: Boolean): [__EnumValue!]", "ofType: __Type"),
    ),
    "__Field": ("name: String!", "args: [__InputValue!]!", "type: __Type!"),
    "__InputValue": ("name: String!", "type: __Type!"),
    "__EnumValue": ("name: String!",),
}
_ENTRIES = ("__schema: __Schema!", "__type(name: String!): __Type")
"""Further fields of Query."""


class Known(NamedTuple):
    """A field of a type."""

    name: str
    type: str
    """With its marks, such as [ID!]!"""
    arguments: dict[str, str]
    """Types by name."""
    is_resolved: bool = False
    """Whether a resolver stands behind it, which makes a connection's complexity depend on its page."""
    is_gitaly: bool = False
    """Whether it asks the repositories' server, which costs one more."""
    is_once: bool = False
    """Whether a request may have it of one object only."""

    @property
    def named(self) -> str:
        """The type without marks."""
        return named(self.type)

    @property
    def is_connection(self) -> bool:
        """Whether it comes in pages."""
        return self.named.endswith("Connection")


class Schema(NamedTuple):
    """What one version has."""

    types: dict[str, dict[str, Known]]
    """Fields by name, by type."""
    enums: dict[str, tuple[str, ...]]

    def is_leaf(self, type_name: str) -> bool:
        """Whether a type, without marks, has no fields of its own."""
        return type_name not in self.types


def named(type_name: str) -> str:
    """The type without marks: [ID!]! -> ID."""
    return type_name.strip("[]!")


@cache
def schema(profile: Profile) -> Schema:
    """The schema of that version and edition."""
    tables = {**_TYPES, **dict(map(_edge, (*_COUNTED, *_UNCOUNTED))), **_INTROSPECTION}
    for of_type in (*_COUNTED, *_UNCOUNTED):
        count = ("count(limit: Int): Int!" if of_type == "CiJob" else "count: Int!",) if of_type in _COUNTED else ()
        tables[f"{of_type}Connection"] = (*count, f"nodes: [{of_type}]", f"edges: [{of_type}Edge]", "pageInfo: PageInfo!")
    tables["Query"] = (*tables["Query"], *_ENTRIES)
    types = {name: dict(_known(line) for line in lines if _exists(line, profile)) for name, lines in tables.items()}
    if not profile.at_least(17):
        for argument in ("fullPaths", "archived"):
            del types["Query"]["projects"].arguments[argument]
    if not profile.is_enterprise:
        del types["Dora"], types["DoraMetric"]
    newer = frozenset() if profile.at_least(17) else _NEWER_STATUSES
    enums = {name: tuple(value for value in values if value not in newer) for name, values in _ENUMS.items()}
    return Schema(types, enums)


def _edge(of_type: str) -> tuple[str, tuple[str, ...]]:
    return f"{of_type}Edge", (f"node: {of_type}", "cursor: String!")


_LINE = re.compile(r"(?P<name>\w+)(?:\((?P<arguments>[^)]*)\))?: (?P<type>\S+)(?P<marks>.*)")


def _exists(line: str, profile: Profile) -> bool:
    return ("@since 17" not in line or profile.at_least(17)) and ("@enterprise" not in line or profile.is_enterprise)


def _known(line: str) -> tuple[str, Known]:
    """A field out of `name(argument: type, ...): type @mark ...`."""
    found = _LINE.fullmatch(line)
    assert found is not None, line
    name, of_type, marks = found["name"], found["type"], found["marks"]
    arguments: dict[str, str] = dict(part.split(": ") for part in (found["arguments"] or "").split(", ") if part)
    return name, Known(name, of_type, arguments, "@resolver" in marks, "@gitaly" in marks, "@once" in marks)

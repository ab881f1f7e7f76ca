"""The keys of the `gitlab` source."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from agent import plugin
from agent.net.options import ConnectionOptions, TokenText
from agent.plugin import CountingOptions, SecretText, Section
from agent.secret import Secret
from agent.sources.gitlab.label_options import LabelsOptions
from agent.sources.keys import Bounds, Pattern

PIPELINE_SECONDS = (5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
JOB_SECONDS = (5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
MERGE_REQUEST_SECONDS = (3600.0, 7200.0, 14400.0, 28800.0, 86400.0, 172800.0, 604800.0)
"""What amazing-gitlab-exporter has, from whose users these come."""


Seconds = Annotated[float, Field(gt=0)]
MAX_GAP_SECONDS = 30 * 86400
"""What is not heard of for longer is forgotten."""


def _path(name: str) -> str:
    if "://" in name:
        raise ValueError("is an address; a full path is wanted, such as group/subgroup, and the address in url")
    if re.search(r"\s|//|^/|/$", name):
        raise ValueError("is no full path; write it as group/subgroup, without / at its beginning or end, and without spaces")
    return name


def _project(name: str) -> str:
    if "/" not in _path(name):
        raise ValueError("is no full path of a project; write it as group/project")
    return name


def _search(text: str) -> str:
    if 0 < len(text) < 3:
        raise ValueError("must have at least 3 characters, or none; GitLab searches for no less")
    return text


class PipelinesOptions(Section):
    """Pipelines and child pipelines."""

    enabled: bool = Field(default=True, description="whether pipelines are counted")
    interval_seconds: Seconds = Field(default=30.0, description="seconds between two polls")
    include_child_pipelines: bool = Field(default=True, description="whether child pipelines are read as well")
    histogram_buckets: Bounds = Field(default=PIPELINE_SECONDS, description="upper bounds of the durations' buckets, seconds")
    max_pipelines_per_ref: int = Field(
        default=10, ge=1, description="unfinished pipelines of one ref that are followed until they end, the newest"
    )


class JobsOptions(Section):
    """Jobs of pipelines."""

    enabled: bool = Field(default=True, description="whether jobs are counted; takes pipelines")
    interval_seconds: Seconds = Field(
        default=60.0,
        description="seconds after which a poll reads the jobs of a pipeline that has not ended again: GitLab does not say that "
        "they changed",
    )
    histogram_buckets: Bounds = Field(default=JOB_SECONDS, description="upper bounds of the durations' buckets, seconds")
    include_runner_details: bool = Field(default=True, description="whether label runner_type is filled")


class TestReportsOptions(Section):
    """Test reports of pipelines that ended."""

    enabled: bool = Field(default=False, description="whether test reports are read; takes pipelines")
    interval_seconds: Seconds = Field(
        default=60.0, description="seconds between two listings of test cases; reports in summary come with their pipelines"
    )
    include_test_cases: bool = Field(default=False, description="whether single test cases get series; one request a pipeline")


class EnvironmentsOptions(Section):
    """Environments and deployments."""

    enabled: bool = Field(default=False, description="whether deployments are counted; some requests for each active project")
    interval_seconds: Seconds = Field(default=300.0, description="seconds between two polls")
    exclude_stopped: bool = Field(default=True, description="whether stopped environments are left out")


class MergeRequestsOptions(Section):
    """Merge requests."""

    enabled: bool = Field(default=True, description="whether merge requests are counted")
    interval_seconds: Seconds = Field(default=120.0, description="seconds between two polls")
    histogram_buckets: Bounds = Field(
        default=MERGE_REQUEST_SECONDS, description="upper bounds of the durations' buckets, seconds"
    )


class SlowOptions(Section):
    """A collector with nothing but an interval."""

    enabled: bool = Field(default=True, description="whether it is on")
    interval_seconds: Seconds = Field(default=3600.0, description="seconds between two polls")


class DoraOptions(SlowOptions):
    """DORA metrics, of Ultimate."""

    environment_tiers: list[str] = Field(default_factory=lambda: ["production", "staging"], description="tiers asked for")


class CodeReviewOptions(SlowOptions):
    """Code review."""

    interval_seconds: Seconds = Field(default=300.0, description="seconds between two polls")


class ContributorsOptions(SlowOptions):
    """Contributors."""

    enabled: bool = Field(default=False, description="whether it is on; names people")


class CollectorsOptions(Section):
    """What is collected."""

    pipelines: PipelinesOptions = Field(default_factory=PipelinesOptions, description="pipelines and child pipelines")
    jobs: JobsOptions = Field(default_factory=JobsOptions, description="jobs of pipelines")
    test_reports: TestReportsOptions = Field(default_factory=TestReportsOptions, description="test reports")
    environments: EnvironmentsOptions = Field(default_factory=EnvironmentsOptions, description="environments and deployments")
    merge_requests: MergeRequestsOptions = Field(default_factory=MergeRequestsOptions, description="merge requests")
    dora: DoraOptions = Field(default_factory=DoraOptions, description="DORA metrics, of Ultimate")
    value_stream: SlowOptions = Field(default_factory=SlowOptions, description="value stream analytics")
    code_review: CodeReviewOptions = Field(default_factory=CodeReviewOptions, description="code review")
    repository: SlowOptions = Field(default_factory=SlowOptions, description="repositories")
    contributors: ContributorsOptions = Field(default_factory=ContributorsOptions, description="contributors")


NOT_BUILT = ("merge_requests", "dora", "value_stream", "code_review", "repository", "contributors")
"""Collectors whose keys are taken, and which bring nothing yet; `check` says so."""


class BranchesOptions(Section):
    """Which branches have series of their own."""

    enabled: bool = Field(default=True, description="whether any do")
    regexp: Pattern = Field(default=r"^(main|master|develop|release/.*)$", description="what a branch's name has to match")
    most_recent: int = Field(default=0, ge=0, description="of those the ones that ran last, for the state of refs; 0 = all")
    max_age_days: float = Field(default=0.0, ge=0, description="of those the ones that ran within so many days; 0 = all")
    exclude_deleted: bool = Field(default=True, description="whether the state of a branch ends when it is deleted")


class TagsOptions(BranchesOptions):
    """Which tags have series of their own."""

    regexp: Pattern = Field(default=r"^v.*", description="what a tag's name has to match")
    most_recent: int = Field(default=10, ge=0, description="of those the ones that ran last, for the state of refs; 0 = all")
    max_age_days: float = Field(default=90.0, ge=0, description="of those the ones that ran within so many days; 0 = all")


class MergeRequestRefsOptions(Section):
    """Which merge requests have series of their own for the state of their pipeline; totals never name them."""

    enabled: bool = Field(default=True, description="whether any do")
    states: tuple[Literal["opened", "closed", "locked", "merged", "all"], ...] = Field(
        default=("opened", "merged"), description="states of those that do"
    )
    most_recent: int = Field(default=20, ge=0, description="of those the ones that ran last; 0 = all")
    max_age_days: float = Field(default=30.0, ge=0, description="of those the ones that ran within so many days; 0 = all")


class RefsOptions(Section):
    """Which refs keep their names in label `ref`; the others get their class."""

    branches: BranchesOptions = Field(default_factory=BranchesOptions, description="branches of projects")
    tags: TagsOptions = Field(default_factory=TagsOptions, description="tags of projects")
    merge_requests: MergeRequestRefsOptions = Field(default_factory=MergeRequestRefsOptions, description="merge requests")


class ProjectOptions(Section):
    """What can be said of each project apart."""

    output_sparse_status_metrics: bool = Field(
        default=True, description="whether a status gauge has a series for the present status only, else one for each status"
    )
    refs: RefsOptions = Field(default_factory=RefsOptions, description="which refs have series of their own")


class NamedProject(ProjectOptions):
    """One project, and what is different there from project_defaults."""

    name: Annotated[str, AfterValidator(_project)] = Field(description="its full path, group/project")


class Owner(Section):
    """Whose projects."""

    name: Annotated[str, AfterValidator(_path)] = Field(
        default="", description="full path of the group, or the user's name; empty = every one"
    )
    kind: Literal["group", "user"] = Field(default="group", description="what that is")
    include_subgroups: bool = Field(default=True, description="whether those of subgroups are read as well")

    @model_validator(mode="after")
    def _named(self) -> Owner:
        if self.kind == "user" and not self.name:
            raise ValueError("kind user takes a name; without owner every project is read that the token is a member of")
        return self


class Wildcard(ProjectOptions):
    """Projects found by their owner, and what is different there from project_defaults."""

    owner: Owner = Field(default_factory=Owner, description="whose projects")
    search: Annotated[str, AfterValidator(_search)] = Field(
        default="", description="text in the names of those that are read, at least 3 characters; empty = all"
    )
    archived: bool = Field(default=False, description="whether archived projects are read as well")


class WebhookOptions(plugin.WebhookOptions):
    """Deliveries that GitLab sends to /webhook/<source name>."""

    enabled: bool = Field(default=True, description="whether deliveries are taken at all, where there is a token for them")
    secret_token: SecretText = Field(
        default=Secret(""), description="the hook's secret token, as in X-Gitlab-Token; without one the endpoint answers 404"
    )
    secret_tokens: list[SecretText] = Field(
        default_factory=list, max_length=10, description="more tokens that are accepted, while one is exchanged for another"
    )

    @property
    def all_tokens(self) -> tuple[Secret, ...]:
        """Every token that is accepted."""
        return tuple(token for token in (self.secret_token, *self.secret_tokens) if token)

    @property
    def is_on(self) -> bool:
        """Whether deliveries are accepted at all."""
        return self.enabled and bool(self.all_tokens)


class Options(CountingOptions, ConnectionOptions):
    """Keys of the `gitlab` source."""

    metric_prefix: str = Field(
        "age_", description="put in front of every metric name of this source", pattern=r"^([a-zA-Z_:][a-zA-Z0-9_:]*)?$"
    )
    url: str = Field(default="https://gitlab.com", description="the GitLab instance, without /api")
    token: TokenText = Field(default=Secret(""), description="access token with the scope read_api")
    token_file: str = Field(default="", description="file with that token, read again when it changes")
    enable_tls_verify: bool = Field(default=True, description="false accepts any certificate; for tests only")
    ca_cert_path: str = Field(default="", description="PEM file with the authorities to trust instead of the system's")
    max_requests_per_second: float = Field(default=10.0, gt=0, description="requests a second on average; may be below 1")
    burst_requests_per_second: float = Field(default=20.0, ge=1, description="requests at once after a pause")
    max_concurrent_requests: int = Field(default=8, ge=1, le=100, description="requests at one time")
    use_graphql: bool = Field(default=True, description="false asks the REST API alone, which takes far more requests")
    graphql_page_size: int = Field(default=100, ge=1, le=100, description="items of a page, GraphQL")
    rest_page_size: int = Field(default=100, ge=1, le=100, description="items of a page, REST")
    tier: Literal["auto", "free", "premium", "ultimate"] = Field(
        default="auto", description="what the namespaces have; auto asks the instance"
    )
    history: Literal["none"] = Field(default="none", description="what of the time before the first poll is counted")
    max_gap_seconds: Seconds = Field(
        default=604800.0,
        le=MAX_GAP_SECONDS,
        description="the longest time without the agent that is made up for at start, at most 2592000 (30 days)",
    )
    collectors: CollectorsOptions = Field(default_factory=CollectorsOptions, description="what is collected")
    project_defaults: ProjectOptions = Field(
        default_factory=ProjectOptions, description="what holds for every project, unless the project says otherwise"
    )
    projects: list[NamedProject] = Field(default_factory=list, max_length=10_000, description="projects by name")
    wildcards: list[Wildcard] = Field(default_factory=list, max_length=1000, description="projects by owner")
    webhook: WebhookOptions = Field(default_factory=WebhookOptions, description="deliveries that GitLab sends to the agent")
    labels: LabelsOptions = Field(default_factory=LabelsOptions, description="what labels say")

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, given: Any) -> Any:
        """What a project or wildcard leaves out is as project_defaults has it, key by key."""
        if not isinstance(given, dict) or not isinstance(given.get("project_defaults"), dict):
            return given
        try:
            ProjectOptions.model_validate(given["project_defaults"])
        except ValidationError:
            return given  # what is wrong there is said once, and not of every project and wildcard too
        filled = dict(given)
        for key in ("projects", "wildcards"):
            if isinstance(given.get(key), list):
                filled[key] = [_filled(given["project_defaults"], entry) for entry in given[key]]
        return filled

    @model_validator(mode="after")
    def _one_token(self) -> Options:
        if self.token and self.token_file:
            raise ValueError("token and token_file are both set; keep one")
        if (self.projects or self.wildcards) and not (self.token or self.token_file):
            raise ValueError("projects and wildcards take a token; set token or token_file")
        return self


def _filled(defaults: dict[str, Any], entry: Any) -> Any:
    """`entry` with what it leaves out taken from `defaults`."""
    if not isinstance(entry, dict):
        return entry
    found = dict(defaults)
    for key, value in entry.items():
        base = defaults.get(key)
        found[key] = _filled(base, value) if isinstance(base, dict) and isinstance(value, dict) else value
    return found

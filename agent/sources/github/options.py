"""The keys of the `github` source."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from agent import plugin
from agent.net.options import ConnectionOptions, TokenText, empty_is_none
from agent.plugin import CountingOptions, LabelName, Network, SecretText, Section
from agent.secret import Secret
from agent.sources.keys import Bounds, Pattern, Rewrite

CI_SECONDS = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 21600.0)
"""Buckets for what takes seconds to hours; a job of a hosted runner ends after six hours at the latest
(https://docs.github.com/en/actions/reference/limits)."""


class AppOptions(Section):
    """A GitHub App to authenticate as."""

    client_id: str = Field(min_length=1, description="the App's client id, or its App id")
    private_key: SecretText = Field(default=Secret(""), description="its private key, PEM")
    private_key_file: str = Field(default="", description="file with that key")
    installation_id: int = Field(default=0, ge=0, description="the installation to read; 0 = every one")

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if bool(self.private_key) == bool(self.private_key_file):
            raise ValueError("set one of private_key and private_key_file")
        return self


class WebhookOptions(plugin.WebhookOptions):
    """Deliveries that GitHub sends to /webhook/<source name>."""

    secret: SecretText = Field(default=Secret(""), description="the webhook's secret; without one the endpoint answers 404")
    secrets: list[SecretText] = Field(
        default_factory=list, max_length=10, description="more secrets that are accepted, while one is exchanged for another"
    )
    insecure_no_secret: bool = Field(default=False, description="accept deliveries that nobody has signed; for tests only")
    allowed_networks: list[Network] = Field(
        default_factory=list, description="networks deliveries may come from, such as 192.0.2.0/24; empty = any"
    )
    allow_github_networks: bool = Field(
        default=False, description="accept deliveries from the addresses that GitHub names at /meta, asked for once a day"
    )

    @field_validator("secret", "secrets")
    @classmethod
    def _no_blanks(cls, found: Any) -> Any:
        for secret in found if isinstance(found, list) else [found]:
            if secret and not secret.reveal().strip():
                raise ValueError("a secret of blanks is none")
        return found

    @property
    def all_secrets(self) -> tuple[Secret, ...]:
        """Every secret that is accepted."""
        return tuple(secret for secret in (self.secret, *self.secrets) if secret)

    @property
    def is_on(self) -> bool:
        """Whether deliveries are accepted at all."""
        return bool(self.all_secrets) or self.insecure_no_secret


class HookOptions(Section):
    """One webhook whose delivery log is read."""

    repository: str = Field(default="", pattern=r"^([^/\s]+/[^/\s]+)?$", description="owner/name of the repository it belongs to")
    organization: str = Field(default="", pattern=r"^[^/\s]*$", description="the organisation it belongs to")
    app: bool = Field(default=False, description="whether it is the App's own")
    id: int = Field(default=0, ge=0, description="its number; 0 = every active one there that sends workflow events")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if sum(map(bool, (self.repository, self.organization, self.app))) != 1:
            raise ValueError("set one of repository, organization and app")
        if self.app and self.id:
            raise ValueError("an App has one webhook; remove id")
        return self


class DeliveriesOptions(Section):
    """The delivery log: every delivery of the last days can be read there, whether it arrived or not."""

    hooks: list[HookOptions] = Field(default_factory=list, max_length=100, description="webhooks whose log is read")
    interval_seconds: float = Field(default=60.0, gt=0, description="seconds between two readings")


class PollOptions(Section):
    """Runs and jobs read from the API."""

    enabled: bool = Field(default=True, description="whether runs are listed at all, where there is a token or an App")
    interval_seconds: float = Field(
        default=0.0, ge=0, description="seconds between two polls; 0 = 60, or 600 beside webhooks or a delivery log"
    )
    max_gap_seconds: float = Field(
        default=604800.0, gt=0, description="the longest time without the agent that is made up for at start"
    )


class RunnersOptions(Section):
    """Self-hosted and larger runners."""

    enabled: bool = Field(default=False, description="whether runners are listed; takes more rights than runs do")
    interval_seconds: float = Field(default=60.0, gt=0, description="seconds between two listings")


class RefRule(Section):
    """A class of refs."""

    regex: Pattern = Field(description="what the whole branch or tag name has to match")
    name: str = Field(min_length=1, max_length=100, description="the value of label `ref` for those")


class LabelsOptions(Section):
    """What labels say."""

    workflow: Literal["name", "path"] = Field(default="name", description="whether label `workflow` holds its name or its file")
    strip_matrix: bool = Field(default=True, description="cut the matrix values, ` (a, b)`, off the end of `job_name`")
    job_names: list[Rewrite] = Field(
        default_factory=list, max_length=100, description="rewrites of `job_name`, the first that matches; after strip_matrix"
    )
    refs: list[RefRule] = Field(
        default_factory=list, max_length=100, description="classes of refs, the first that matches; before the built-in ones"
    )


class SkuRule(Section):
    """Which runner a label or a group stands for."""

    label: str = Field(default="", description="one of the job's labels")
    group: str = Field(default="", description="the runner group")
    sku: str = Field(min_length=1, description="what it costs as: a key of `prices`, built in or your own; self-hosted; unknown")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not (self.label or self.group):
            raise ValueError("set label, group or both")
        return self


class CostOptions(Section):
    """What a job's minutes cost."""

    skus: list[SkuRule] = Field(
        default_factory=list, max_length=1000, description="which price a label or runner group has, the first that matches"
    )
    prices: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        default_factory=dict, description="USD a minute by SKU; wins over the built-in table"
    )
    self_hosted_per_minute: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="USD a minute of self-hosted runners"
    )


class BucketsOptions(Section):
    """Upper bounds of the histograms' buckets, seconds."""

    workflow_run_duration_seconds: Bounds = Field(default=CI_SECONDS, description="how long runs take")
    workflow_run_queue_duration_seconds: Bounds = Field(default=CI_SECONDS, description="how long runs wait for their first job")
    job_run_duration_seconds: Bounds = Field(default=CI_SECONDS, description="how long jobs take")
    job_queue_duration_seconds: Bounds = Field(default=CI_SECONDS, description="how long jobs wait for a runner")
    job_waiting_duration_seconds: Bounds = Field(default=CI_SECONDS, description="how long jobs wait for an approval")

    def of(self, family: str) -> tuple[float, ...]:
        """The bounds of one histogram."""
        bounds: tuple[float, ...] = getattr(self, family)
        return bounds


class Options(CountingOptions, ConnectionOptions):
    """Keys of the `github` source."""

    metric_prefix: str = Field(
        "github_", description="put in front of every metric name of this source", pattern=r"^([a-zA-Z_:][a-zA-Z0-9_:]*)?$"
    )
    url: str = Field(
        default="https://api.github.com", description="the API: GitHub, https://HOST/api/v3, https://api.SUBDOMAIN.ghe.com"
    )
    token: TokenText = Field(default=Secret(""), description="personal access token; none is needed for webhooks alone")
    token_file: str = Field(default="", description="file with that token, read again when it changes")
    app: AppOptions | None = Field(default=None, description="a GitHub App instead of a token")
    organizations: list[str] = Field(default_factory=list, description="organisations whose repositories are read")
    users: list[str] = Field(default_factory=list, description="users whose repositories are read")
    repositories: list[Annotated[str, Field(pattern=r"^[^/\s]+/[^/\s]+$")]] = Field(
        default_factory=list, description="repositories to read, owner/name"
    )
    include: list[str] = Field(default_factory=list, description="patterns such as acme/*; only these repositories are counted")
    exclude: list[str] = Field(default_factory=list, description="patterns of repositories that are not counted")
    webhook: WebhookOptions = Field(default_factory=WebhookOptions, description="deliveries that GitHub sends to the agent")
    deliveries: DeliveriesOptions = Field(default_factory=DeliveriesOptions, description="the webhooks' delivery log")
    poll: PollOptions = Field(default_factory=PollOptions, description="runs and jobs read from the API")
    runners: RunnersOptions = Field(default_factory=RunnersOptions, description="self-hosted and larger runners")
    labels: LabelsOptions = Field(default_factory=LabelsOptions, description="what labels say")
    names: dict[str, Annotated[str, Field(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")]] = Field(
        default_factory=dict, description="other names for metrics, such as job_run_total: jobs_total; without the prefix"
    )
    label_names: dict[str, LabelName] = Field(
        default_factory=dict, description="other names for labels, such as repository: repo"
    )
    buckets: BucketsOptions = Field(default_factory=BucketsOptions, description="buckets of the histograms")
    cost: CostOptions = Field(default_factory=CostOptions, description="what minutes cost")
    events: bool = Field(default=False, description="also send one sample for each run and job, at the time it ended")
    join_seconds: float = Field(
        default=600.0, ge=0, description="how long a finished job waits for word of its run before it counts without"
    )

    @field_validator("app", mode="before")
    @classmethod
    def _no_app(cls, section: Any) -> Any:
        return empty_is_none(section)

    @model_validator(mode="after")
    def _one_credential(self) -> Self:
        given = [key for key in ("token", "token_file", "app") if getattr(self, key)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are both set; keep one")
        for key, is_set in (
            ("deliveries.hooks", self.deliveries.hooks),
            ("webhook.allow_github_networks", self.webhook.allow_github_networks),
            ("runners.enabled", self.runners.enabled),
            ("repositories", self.repositories),
            ("organizations", self.organizations),
            ("users", self.users),
        ):
            if is_set and not given:
                raise ValueError(f"{key} takes a token or an App; set token, token_file or app")
        if any(hook.app for hook in self.deliveries.hooks) and self.app is None:
            raise ValueError("the App's own webhook can be read by the App alone; set app")
        return self

    @property
    def has_credential(self) -> bool:
        """Whether the API may be asked at all."""
        return bool(self.token or self.token_file or self.app)

    @property
    def poll_seconds(self) -> float:
        """Seconds between two polls of the runs."""
        alone = not (self.webhook.is_on or self.deliveries.hooks)
        return self.poll.interval_seconds or (60.0 if alone else 600.0)

"""The keys below `labels`: what labels of the `gitlab` source say."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from agent.plugin import Section
from agent.sources.keys import Rewrite

MAX_VARIABLES = 16
"""Each makes as many times more series as it has values."""
FAILURE_REASONS = (
    "script_failure",
    "runner_system_failure",
    "stuck_or_timeout_failure",
    "job_execution_timeout",
    "api_failure",
    "missing_dependency_failure",
    "unmet_prerequisites",
    "data_integrity_failure",
    "scheduler_failure",
    "archived_failure",
    "unknown_failure",
)
"""Words that label `failure_reason` may hold where the configuration says nothing else."""


def variable_label(name: str) -> str:
    """The label that holds the value of a pipeline's variable."""
    return f"variable_{name.lower()}"


def _distinct(names: list[str]) -> list[str]:
    labels = Counter(map(variable_label, names))
    twice = sorted(label for label, count in labels.items() if count > 1)
    if twice:
        raise ValueError(f"each name makes a label, in lower case, and these come up twice: {', '.join(twice)}")
    return names


VariableName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,255}$")]
"""As GitLab allows them (https://docs.gitlab.com/ci/variables/)."""


class LabelsOptions(Section):
    """What labels say."""

    ref: Literal["name", "class"] = Field(
        default="name", description="whether label `ref` holds the names of refs that the rules choose, or classes only"
    )
    job_names: list[Rewrite] = Field(
        default_factory=list,
        max_length=100,
        description="rewrites of `job_name`, the first that matches; after shard and matrix suffixes are cut off",
    )
    failure_reasons: list[str] = Field(
        default_factory=lambda: list(FAILURE_REASONS), max_length=100, description="what `failure_reason` may say; else: other"
    )
    variables: Annotated[list[VariableName], AfterValidator(_distinct)] = Field(
        default_factory=list,
        max_length=MAX_VARIABLES,
        description="variables of pipelines that are labels: `REGION` is variable_region; never name one that holds a secret",
    )

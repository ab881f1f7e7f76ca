"""The keys below `labels`: what labels of the `gitlab` source say."""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from agent.plugin import Section

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


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return text


def variable_label(name: str) -> str:
    """The label that holds the value of a pipeline's variable."""
    return f"variable_{name.lower()}"


def _distinct(names: list[str]) -> list[str]:
    labels = Counter(map(variable_label, names))
    twice = sorted(label for label, count in labels.items() if count > 1)
    if twice:
        raise ValueError(f"each name makes a label, in lower case, and these come up twice: {', '.join(twice)}")
    return names


Pattern = Annotated[str, AfterValidator(_pattern), Field(max_length=500)]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,255}$")]
"""As GitLab allows them (https://docs.gitlab.com/ci/variables/)."""


class Rewrite(Section):
    """A regular expression for a whole text, and what replaces it."""

    regex: Pattern = Field(description="what the whole text has to match")
    replacement: str = Field(description="the text instead; \\1 = the first group", max_length=200)

    @model_validator(mode="after")
    def _fits(self) -> Rewrite:
        try:
            re.sub(self.regex, self.replacement, "")
        except (re.error, IndexError) as error:
            raise ValueError(f"replacement does not fit regex: {error}") from error
        return self


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

"""Why metrics are not there that could be: for whoever asks for one by its name."""

from __future__ import annotations

from operator import attrgetter

from agent.sources.gitlab.families import families
from agent.sources.gitlab.options import NOT_BUILT, Options

_KEYS = {
    "test_case_": ("test_reports.enabled", "test_reports.include_test_cases"),
    "test_": ("test_reports.enabled",),
    "environment_": ("environments.enabled",),
    "job": ("jobs.enabled",),
    "pipeline_stage_": ("jobs.enabled",),
    "child_pipeline_": ("pipelines.include_child_pipelines",),
    "pipeline": (),
}
"""How names begin, and what has to be true for them in `collectors`, beside `pipelines.enabled`; the first that fits."""
_LATER = {
    "mr_": "merge_requests",
    "dora_": "dora",
    "value_stream_": "value_stream",
    "review_": "code_review",
    "repository_": "repository",
    "contributor_": "contributors",
}
"""How the names of amazing-gitlab-exporter begin that these collectors are for."""


def absent(name: str, where: str, options: Options) -> str:
    """Why there are no series called `name`, and what to do; "" = nothing that is configured, or it is no name of GitLab's.

    `where`: the source's place in the configuration.
    """
    prefix = options.metric_prefix
    own = name.removeprefix(prefix) if name.startswith(prefix) else ""
    later = next((collector for begin, collector in _LATER.items() if own.startswith(begin)), "")
    if later in NOT_BUILT:
        return f"it is of the collector {later}, which this version does not have yet"
    known = next((keys for begin, keys in _KEYS.items() if own.startswith(begin)), None)
    if known is None or not _is_one(own, options):
        return ""
    off = [key for key in ("pipelines.enabled", *known) if not attrgetter(key)(options.collectors)]
    return f"it is off; set {' and '.join(f'{where}.collectors.{key}' for key in off)} to true" if off else ""


def _is_one(name: str, options: Options) -> bool:
    """Whether samples are called so."""
    for family in families(options):
        parts = ("", "_bucket", "_sum", "_count") if family.buckets else ("",)
        if any(name == family.name + part for part in parts):
            return True
    return False

"""GitLab: pipelines, jobs and deployments of many projects, from the API and from webhooks."""

from agent.sources.gitlab.options import Options
from agent.sources.gitlab.source import FAMILIES, GitlabSource, build

__all__ = ["FAMILIES", "GitlabSource", "Options", "build"]

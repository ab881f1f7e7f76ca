"""GitHub Actions: runs and jobs, from webhooks, from their delivery log and from the API."""

from agent.sources.github.options import Options
from agent.sources.github.source import FAMILIES, GithubSource, build

__all__ = ["FAMILIES", "GithubSource", "Options", "build"]

"""One look at all projects, in pieces: an instance that answers slowly, or may be asked seldom, is looked at all the same.

What a piece brought is counted and committed before the next is asked for, so that a look may take longer than a collect.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.sources.gitlab.objects import Project

PIECE_SECONDS = 60.0
"""A piece that takes longer is given up and asked for again in smaller ones;"""
PIECE_REQUESTS = 20
"""but the smallest takes some requests, for which there has to be time."""


def longest(requests_per_second: float) -> float:
    """How many seconds a piece may take where so many requests are allowed."""
    return max(PIECE_SECONDS, PIECE_REQUESTS / requests_per_second)


@dataclass
class Round:
    """What is left of a look, and what it has found."""

    join: list[Project]
    """Projects that are new to the agent."""
    ask: list[Project]
    """Those of which it is asked what has changed."""
    heads: list[Project]
    """Those whose refs are listed anew."""
    listed: int = 0
    """GitLab's second at which it was last known which projects there were, before this look; 0 = never."""
    is_followed: bool = False
    """Whether pipelines were asked for by number."""
    newest: int = 0
    """The latest change of any pipeline when the first projects had been asked; 0 = not yet."""
    answered: set[int] = field(default_factory=set)
    """Projects of which it is known what has changed."""
    behind: set[int] = field(default_factory=set)
    """Those of them of which not everything could be read."""

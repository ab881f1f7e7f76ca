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
QUICK_SECONDS = 10.0
"""After one that took less, the next may be twice as large;"""
SLOW_SECONDS = 30.0
"""after one that took more, it is half as large."""


def longest(requests_per_second: float) -> float:
    """How many seconds a piece may take where so many requests are allowed."""
    return max(PIECE_SECONDS, PIECE_REQUESTS / requests_per_second)


class Pace:
    """How large the pieces of one kind are: found out as it goes, and remembered."""

    def __init__(self, first: int, most: int) -> None:
        self.size = min(first, most)
        self._most = most

    def took(self, asked: int, seconds: float) -> None:
        """A piece of that size came back after so long."""
        if seconds > SLOW_SECONDS:
            self.size = max(1, min(self.size, asked) // 2)
        elif seconds < QUICK_SECONDS and asked >= self.size:
            self.size = min(self._most, self.size * 2)

    def expired(self, asked: int) -> None:
        """One of that size did not come back in time."""
        self.size = max(1, min(self.size, asked) // 2)


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

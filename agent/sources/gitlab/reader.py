"""What the sync asks of an API, whichever of GitLab's two it is: both bring the same things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agent.errors import CollectError
from agent.sources.gitlab.objects import Job, Pipeline, Project, Report
from agent.sources.gitlab.options import ProjectOptions

Known = Mapping[int, tuple[Project, ProjectOptions]]
"""Projects and the rules for them, by id."""


class Listed(Protocol):
    """What discovery found."""

    @property
    def projects(self) -> Known:
        """By id."""
        ...

    @property
    def problems(self) -> Sequence[str]:
        """What could not be read, one line each."""
        ...


class Discovery(Protocol):
    """Which projects there are."""

    async def projects(self) -> Listed:
        """All that are read now. Raises CollectError where there is nothing."""
        ...


@dataclass(slots=True)
class Found:
    """What was found in some projects; a project is in `pipelines` if it was read to its end, else in `failed`."""

    date: float = 0.0
    """The server's clock when the first of the requests was answered, seconds since the epoch."""
    pipelines: dict[int, list[Pipeline]] = field(default_factory=dict)
    """By project id; [] = nothing there."""
    paths: dict[int, str] = field(default_factory=dict)
    """The full paths of projects, as they are now, where the answer tells them."""
    failed: dict[int, CollectError] = field(default_factory=dict)
    """By project id: why it could not be read; kinds `missing` and `forbidden` are about that project alone."""


class Reader(Protocol):
    """One instance, asked as one token. What it remembers saves requests and changes no answer."""

    @property
    def together(self) -> int:
        """How many projects `unfinished` is asked for at once at most, and what else at first."""
        ...

    async def changed(self, projects: Sequence[Project], after: int, before: int = 0, among: int = 0) -> Found:
        """Pipelines whose `updated` is at or after that second and before the other, children too; any number of projects.

        `before`: 0 = however late. A project of which there is more than one question can bring fails with the kind
        `size`: then a shorter time is to be asked for. `among`: how many projects are asked one after the other, these
        included; 0 = no others. What triggered a pipeline may be in one of them.

        Raises CollectError where nothing can be read at all: `auth`, `connect`, `rate_limit`.
        """
        ...

    async def jobs(self, wanted: Mapping[Project, Sequence[Pipeline]]) -> dict[int, list[Job] | CollectError]:
        """All jobs, retried ones too, of these pipelines, by pipeline id. Raises CollectError as `changed` does."""
        ...

    async def pipelines(self, wanted: Mapping[Project, Sequence[int]]) -> dict[int, Pipeline | CollectError | None]:
        """Pipelines by id; None = there is none (any more). Raises CollectError as `changed` does."""
        ...

    async def unfinished(self, projects: Sequence[Project]) -> Found:
        """Every pipeline that has not ended, children too: what the first sync registers. Raises as `changed` does."""
        ...

    async def heads(self, projects: Sequence[Project]) -> Found:
        """The newest pipeline of each branch and tag that exists, at most some hundreds of each. Raises as `changed` does."""
        ...

    async def recent(self, projects: Sequence[Project]) -> Found:
        """The newest pipelines of merge requests, and those that ended last, some dozens of each. Raises as `changed` does."""
        ...

    async def reports(self, wanted: Mapping[Project, Sequence[int]]) -> dict[int, Report | CollectError]:
        """Test reports in summary by pipeline id; those without one are left out. Raises CollectError as `changed` does."""
        ...

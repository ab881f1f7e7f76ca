"""Where things happen in a simulated GitLab: people, groups, projects with their refs, environments, tokens, and the world.

Times are whole seconds since the epoch, 0 = never. Plans do not change; what can be seen at a moment are functions of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from agent.sim.gitlab.objects import Job, Pipeline

FREE, PREMIUM, ULTIMATE = 0, 1, 2
GUEST, REPORTER, DEVELOPER, MAINTAINER, OWNER = 10, 20, 30, 40, 50
"""Roles, GitLab's numbers."""


class User(NamedTuple):
    """A person or a bot."""

    id: int
    username: str
    name: str


@dataclass(frozen=True, slots=True)
class Group:
    """A group, or the namespace of a user."""

    id: int
    path: str
    """Full path."""
    name: str
    parent: Group | None = None
    tier: int = FREE
    """Of the top-level group; those below have the same."""
    is_user: bool = False

    @property
    def top(self) -> Group:
        """The top-level group that this belongs to."""
        return self if self.parent is None else self.parent.top

    def is_within(self, other: Group) -> bool:
        """Whether it is that group or below it."""
        return self is other or (self.parent is not None and self.parent.is_within(other))


class Place(NamedTuple):
    """Where a project is from some moment on."""

    since: int
    group: Group
    path: str
    """Last part of its full path."""

    @property
    def full_path(self) -> str:
        """With its namespaces."""
        return f"{self.group.path}/{self.path}"


class Ref(NamedTuple):
    """A branch or tag."""

    name: str
    created: int
    deleted: int = 0

    def exists(self, now: float) -> bool:
        """Whether it is there."""
        return self.created <= now and not (self.deleted and now >= self.deleted)


@dataclass(frozen=True, slots=True, eq=False)
class MergeRequest:
    """A merge request."""

    id: int
    iid: int
    title: str
    source_branch: str
    target_branch: str
    author: User
    created: int
    merged: int = 0
    closed: int = 0

    def state(self, now: float) -> str:
        """opened, merged or closed."""
        if self.merged and now >= self.merged:
            return "merged"
        return "closed" if self.closed and now >= self.closed else "opened"

    def updated(self, now: float) -> int:
        """When its state changed last."""
        return max(at for at in (self.created, self.merged, self.closed) if at <= now)


@dataclass(frozen=True, slots=True, eq=False)
class Environment:
    """An environment of a project."""

    id: int
    name: str
    created: int
    tier: str = "development"
    stopped: int = 0
    external_url: str = ""

    def state(self, now: float) -> str:
        """available or stopped."""
        return "stopped" if self.stopped and now >= self.stopped else "available"


@dataclass(slots=True, eq=False)
class Deployment:
    """A deployment: by a job, whose states it follows, or made through the API."""

    id: int
    environment: Environment
    ref: str
    sha: str
    user: User
    created: int
    ended: int
    """0 = never."""
    status: str
    """What it ends in: success, failed or canceled."""
    started: int = 0
    job: Job | None = None
    """None: made through the API."""
    pipeline: Pipeline | None = field(default=None, repr=False)
    """Of its job."""
    iid: int = 0

    def at(self, now: float) -> str:
        """Its status; "" = it does not exist yet."""
        if now < self.created:
            return ""
        if 0 < self.ended <= now:
            return self.status
        return "running" if 0 < self.started <= now else "created"

    def updated(self, now: float) -> int:
        """When that changed last."""
        return max(at for at in (self.created, self.started, self.ended) if at <= now)


@dataclass(slots=True, eq=False)
class Project:
    """A project and all that happens in it."""

    id: int
    places: tuple[Place, ...]
    """Where it is, in order of time."""
    created: int
    default_branch: str = "main"
    archived: bool = False
    builds_enabled: bool = True
    visibility: str = "private"
    deleted: int = 0
    """From when on it waits for its deletion: no list has it, and by itself it is not found."""
    ordinal: int = 0
    pipelines: tuple[Pipeline, ...] = field(default=(), repr=False)
    """By id, children too."""
    branches: tuple[Ref, ...] = field(default=(), repr=False)
    tags: tuple[Ref, ...] = field(default=(), repr=False)
    merge_requests: tuple[MergeRequest, ...] = field(default=(), repr=False)
    environments: tuple[Environment, ...] = field(default=(), repr=False)
    deployments: tuple[Deployment, ...] = field(default=(), repr=False)
    """By id."""

    def exists(self, now: float) -> bool:
        """Whether it is there, for those who may see it."""
        return self.created <= now and not (self.deleted and now >= self.deleted)

    def place(self, now: float) -> Place:
        """Where it is."""
        if len(self.places) == 1 or now < self.places[1].since:
            return self.places[0]
        return next(place for place in reversed(self.places) if now >= place.since)

    def path_at(self, now: float) -> str:
        """Its full path."""
        return self.place(now).full_path

    def ref_exists(self, pipeline: Pipeline, now: float) -> bool:
        """Whether the branch or tag that a pipeline ran for is there."""
        return any(ref.name == pipeline.ref and ref.exists(now) for ref in (self.tags if pipeline.tag else self.branches))


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and what it opens."""

    value: str
    user: User
    scopes: tuple[str, ...] = ("read_api",)
    role: int = MAINTAINER
    """In every project that it sees."""
    is_admin: bool = False
    only: frozenset[int] = frozenset()
    """Ids of the only projects that it sees, as a project token's; empty = all but `hidden`."""
    hidden: frozenset[int] = frozenset()
    """Ids of projects that it does not see."""
    expires: int = 0
    """When it stops being valid."""

    def sees(self, project: Project) -> bool:
        """Whether a project exists for it."""
        return project.id not in self.hidden and (not self.only or project.id in self.only)

    def reads_variables(self, pipeline: Pipeline) -> bool:
        """Whether it is told the variables of a pipeline (app/policies/ci/pipeline_policy.rb, read_pipeline_variable)."""
        return self.is_admin or self.role >= MAINTAINER or self.user == pipeline.user

    def may_read(self) -> bool:
        """Whether its scopes allow to read the API."""
        return "api" in self.scopes or "read_api" in self.scopes


@dataclass(frozen=True)
class World:
    """An instance and all that ever happens in it."""

    seed: int
    start: int
    """Nothing happens before, but projects and refs may be older."""
    seconds: int
    """Pipelines begin within so many seconds."""
    url: str
    """Of the instance, as its bodies tell it."""
    groups: tuple[Group, ...]
    users: tuple[User, ...]
    projects: tuple[Project, ...] = field(repr=False)
    """By id."""
    tokens: Mapping[str, Token] = field(default_factory=dict)
    """By value."""

    @cached_property
    def end(self) -> int:
        """When the last pipeline has come to look as it does for good."""
        return max((pipeline.last_change for pipeline in self.pipelines()), default=self.start)

    @cached_property
    def by_id(self) -> Mapping[int, Project]:
        """Projects by id."""
        return {project.id: project for project in self.projects}

    @cached_property
    def _by_path(self) -> Mapping[str, tuple[Project, ...]]:
        found: dict[str, tuple[Project, ...]] = {}
        for project in self.projects:
            for place in project.places:
                path = place.full_path.lower()
                found[path] = (*found.get(path, ()), project)
        return found

    def pipelines(self) -> Iterator[Pipeline]:
        """Those of all projects."""
        return (pipeline for project in self.projects for pipeline in project.pipelines)

    def project(self, key: int | str, now: float) -> Project | None:
        """A project by its id or by its full path of that moment; None = there is none, or not yet."""
        if isinstance(key, int):
            found = self.by_id.get(key)
            return found if found and found.exists(now) else None
        named = self._by_path.get(key.lower(), ())
        return next((each for each in named if each.exists(now) and each.path_at(now).lower() == key.lower()), None)

    def moved(self, path: str, now: float) -> Project | None:
        """The project that had this full path once and has another now."""
        if self.project(path, now) is not None:
            return None
        named = self._by_path.get(path.lower(), ())
        known = (each for each in named if each.exists(now))
        return next(
            (each for each in known if any(p.full_path.lower() == path.lower() and p.since <= now for p in each.places)), None
        )

    def group(self, key: int | str) -> Group | None:
        """A group by its id or full path."""
        wanted = key.lower() if isinstance(key, str) else key
        return next((group for group in self.groups if wanted in (group.id, group.path.lower())), None)

    def token(self, value: str, now: float) -> Token | None:
        """The token of that value while it is valid."""
        found = self.tokens.get(value)
        return None if found is None or (found.expires and now >= found.expires) else found

    def visible(self, token: Token, now: float) -> Iterator[Project]:
        """The projects that exist for a token, by id."""
        return (project for project in self.projects if project.exists(now) and token.sees(project))

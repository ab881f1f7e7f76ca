"""A seeded GitLab over a span of time: the same arguments make the same world, to the second."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict

from agent.sim.gitlab import catalogue
from agent.sim.gitlab.flat import MONDAY, TOKEN, URL
from agent.sim.gitlab.growth import REOPENED_AFTER, Growth, Trigger
from agent.sim.gitlab.objects import Pipeline
from agent.sim.gitlab.places import (
    FREE,
    GUEST,
    PREMIUM,
    ULTIMATE,
    Group,
    MergeRequest,
    Place,
    Project,
    Ref,
    Token,
    User,
    World,
)
from agent.sim.gitlab.releases import deliver

WEEK = 604_800
QUIET = 300
"""Seconds around a rename, and before the end of a pipeline that is deleted, in which nothing happens that counts."""
BUSY_SHARE = 0.7
"""The share of the projects in which anything happens."""
USER_ONLY, EXPIRED, GUESTS = "glpat-read-user-only", "glpat-expired", "glpat-guest"
"""Tokens with which little can be read: of too small a scope, not valid any more, of a guest."""
DEPLOYED = 4_000
"""The same for deployments, which are looked at more rarely."""
_BRANCHES = ("main", "develop", "release/1.2")
_FIRST_PROJECT, _FIRST_MERGE_REQUEST = 41_000, 270_000_000


def build(
    seed: int = 1, *, start: int = MONDAY, seconds: int = WEEK, projects: int = 100, pipelines: int = 2_000, haste: float = 1.0
) -> World:
    """A world in which so many pipelines are begun, and their children beside.

    `haste`: how many times faster than usual everything goes, so that with 60 a day of work fits into the minutes of a test;
    times stay whole seconds, and nothing takes less than one.
    """
    rng = random.Random(f"{seed} {seconds} {projects} {pipelines}")
    users = tuple(User(700 + 3 * number, name, name.title()) for number, name in enumerate(catalogue.PEOPLE))
    groups = _groups(users)
    owned = [_project(rng, groups, number, start, seconds) for number in range(projects)]
    _inhabit(rng, owned, users, start, seconds)
    growth = Growth(rng, start, [project for project in owned if project.builds_enabled and not project.archived], haste)
    for trigger in _triggers(rng, owned, users, start, seconds, pipelines):
        growth.pipeline(trigger)
    by_project: defaultdict[Project, list[Pipeline]] = defaultdict(list)
    for made in sorted(growth.made, key=_id):
        by_project[made.project].append(made)
        made.iid = len(by_project[made.project])
    for project, made_there in by_project.items():
        project.pipelines = tuple(made_there)
    _delete(rng, growth.made)
    _move(rng, growth.made, owned, groups, start + seconds)
    deliver(rng, growth, owned, start)
    return World(seed, start, seconds, URL, groups, users, tuple(owned), _tokens(owned, users, start))


def _id(pipeline: Pipeline) -> int:
    return pipeline.id


def _groups(users: tuple[User, ...]) -> tuple[Group, ...]:
    tiers = {"harbour": ULTIMATE, "orchard": PREMIUM}
    found: dict[str, Group] = {}
    for number, path in enumerate(catalogue.GROUPS):
        parent = found.get(path.rpartition("/")[0])
        found[path] = Group(3_100 + number, path, path.rpartition("/")[2].title(), parent, tiers.get(path.split("/")[0], FREE))
    people = (Group(8_000 + user.id, user.username, user.name, is_user=True) for user in users[:2])
    return (*found.values(), *people)


def _project(rng: random.Random, groups: tuple[Group, ...], number: int, start: int, seconds: int) -> Project:
    group, path = groups[number % len(groups)], catalogue.project_name(number)
    created = start - 30 * 86_400 - number
    if number % 13 == 5:
        created = start + rng.randrange(seconds // 2)
    return Project(
        _FIRST_PROJECT + 7 * number,
        (Place(created, group, path),),
        created,
        default_branch="master" if number % 9 == 4 else "main",
        archived=number % 23 == 19,
        builds_enabled=number % 29 != 21,
        visibility="public" if number % 5 == 0 else "private",
        ordinal=number,
    )


def _inhabit(rng: random.Random, projects: list[Project], users: tuple[User, ...], start: int, seconds: int) -> None:
    """Give projects branches, tags and merge requests; some of them are deleted, merged or closed in time."""
    for project in projects:
        names = dict.fromkeys((project.default_branch, *_BRANCHES[1:]))
        branches = [Ref(name, project.created) for name in names]
        requests, since = [], max(start, project.created)
        until = start + seconds
        for number in range(1, 3 + project.ordinal % 5):
            topic = f"feature/{catalogue.TOPICS[(project.ordinal + number) % len(catalogue.TOPICS)]}-{number}"
            created = rng.randrange(since, until)
            ended = created + rng.randrange(7_200, 3 * 86_400)
            branches.append(Ref(topic, created, ended if number % 3 else 0))
            identity = _FIRST_MERGE_REQUEST + project.id * 100 + number
            merged, closed = (ended, 0) if number % 3 == 1 else (0, ended if number % 3 == 2 else 0)
            author = users[number % len(users)]
            requests.append(
                MergeRequest(identity, number, f"Do {topic}", topic, project.default_branch, author, created, merged, closed)
            )
        tags = [Ref(f"v1.{number}.0", rng.randrange(since, until)) for number in range(project.ordinal % 4)]
        tags += [Ref("nightly", since, since + seconds // 2)] * (project.ordinal % 6 == 2)
        project.branches, project.tags, project.merge_requests = tuple(branches), tuple(tags), tuple(requests)


def _triggers(
    rng: random.Random, projects: list[Project], users: tuple[User, ...], start: int, seconds: int, pipelines: int
) -> list[Trigger]:
    """What starts which pipeline, in order of time."""
    busy = [project for project in projects if project.builds_enabled and not project.archived]
    busy = busy[: max(1, round(len(projects) * BUSY_SHARE))]
    weights = list(itertools.accumulate(1 / (place + 2) ** 0.6 for place in range(len(busy))))
    found: list[Trigger] = []
    while len(found) < pipelines:
        project = rng.choices(busy, cum_weights=weights)[0]
        at = start + 2 + rng.randrange(max(1, seconds - 2))
        if at <= project.created or (seconds >= 86_400 and rng.random() > _busyness(at)):
            continue
        found.append(_trigger(rng, project, rng.choice(users), at))
    return sorted(found, key=lambda trigger: (trigger.at, trigger.project.id))


def _trigger(rng: random.Random, project: Project, user: User, at: int) -> Trigger:
    form = catalogue.FORMS[project.ordinal % len(catalogue.FORMS)]
    recipe = form[0] if rng.random() < 0.7 else rng.choice(form[1:])
    slowness = rng.choice((40.0, 400.0)) if rng.random() < 0.01 else 1.0
    kind = rng.random()
    opened = [request for request in project.merge_requests if request.created <= at and request.state(at) == "opened"]
    if kind < 0.35 and opened:
        request = rng.choice(opened)
        ref = f"refs/merge-requests/{request.iid}/{rng.choice(('head', 'head', 'merge', 'train'))}"
        return Trigger(at, project, recipe, ref, "merge_request_event", user, merge_request=request, slowness=slowness)
    tags = [tag for tag in project.tags if tag.exists(at)]
    if kind > 0.93 and tags:
        return Trigger(at, project, recipe, rng.choice(tags).name, "push", user, tag=True, slowness=slowness)
    if kind > 0.85:
        return Trigger(at, project, form[-1], project.default_branch, "schedule", user, slowness=slowness)
    branches = [branch.name for branch in project.branches if branch.exists(at)]
    ref = project.default_branch if rng.random() < 0.4 else rng.choice(branches)
    return Trigger(at, project, recipe, ref, rng.choice(catalogue.SOURCES), user, slowness=slowness)


def _move(rng: random.Random, made: list[Pipeline], projects: list[Project], groups: tuple[Group, ...], until: int) -> None:
    """Rename some projects and move others, when nothing ends there for a while, so that whatever ended is known by then."""
    ends: defaultdict[Project, list[int]] = defaultdict(list)
    for pipeline in made:
        for project in {pipeline.project, *((pipeline.upstream.pipeline.project,) if pipeline.upstream else ())}:
            ends[project] += (at for job in pipeline.jobs for at in (job.ended, job.again.ended if job.again else 0))
            ends[project] += (view.updated_at for view in pipeline.views)
    for project in projects:
        is_renamed, is_moved = project.ordinal % 17 == 3, project.ordinal % 17 == 11
        if not (is_renamed or is_moved):
            continue
        first = project.places[0]
        for _ in range(100):
            at = rng.randrange(project.created + QUIET, until) if until - project.created > QUIET else 0
            if at and not any(abs(at - end) < QUIET for end in ends[project]):
                group = groups[(project.ordinal + 3) % len(groups)] if is_moved else first.group
                project.places = (first, Place(at, group, first.path if is_moved else f"{first.path}-renamed"))
                break


def _delete(rng: random.Random, made: list[Pipeline]) -> None:
    """Delete some pipelines: most long after they have ended, some while they run."""
    for pipeline in made:
        has_family = pipeline.upstream is not None or any(job.downstream for job in pipeline.jobs)
        if has_family or rng.random() > 0.02:
            continue
        if pipeline.views[-1].is_final:
            pipeline.deleted_at = pipeline.last_change + REOPENED_AFTER + rng.randrange(7_200)
        if rng.random() < 0.2 and not pipeline.yaml_error:
            end = next((view.updated_at for view in pipeline.views if view.is_final), pipeline.created + 3_600)
            at = rng.randrange(pipeline.created + 1, max(end, pipeline.created + 2))
            if not any(0 <= at - job.ended < (DEPLOYED if job.spec.environment else QUIET) for job in pipeline.jobs):
                pipeline.deleted_at = at


def _tokens(projects: list[Project], users: tuple[User, ...], start: int) -> dict[str, Token]:
    hidden = frozenset(project.id for project in projects if project.ordinal % 31 == 15)
    listed = (
        Token(TOKEN, users[0], hidden=hidden),
        Token(USER_ONLY, users[1], scopes=("read_user",)),
        Token(EXPIRED, users[0], expires=start),
        Token(GUESTS, users[2], role=GUEST),
        Token("glpat-admin", users[3], scopes=("api",), is_admin=True),
        Token("glpat-of-one-project", users[-1], only=frozenset({projects[0].id})),
    )
    return {token.value: token for token in listed}


def _busyness(at: int) -> float:
    """How likely people push at that time, 0 to 1: by day, on weekdays."""
    day, hour = at // 86_400 % 7, at % 86_400 // 3600
    weekend = day in (2, 3)  # the epoch was a Thursday
    return (0.2 if weekend else 1.0) * (1.0 if 7 <= hour < 18 else 0.15)

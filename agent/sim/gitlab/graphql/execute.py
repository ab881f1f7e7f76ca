"""A query's answer as JSON text: its fields are made into functions once, which then run over thousands of things."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from agent.sim.gitlab.graphql.formats import text, truth
from agent.sim.gitlab.graphql.introspection import Introspection
from agent.sim.gitlab.graphql.leaves import leaves
from agent.sim.gitlab.graphql.pages import Page, Rows, cursor, page
from agent.sim.gitlab.graphql.plan import Node
from agent.sim.gitlab.graphql.reading import Given, Reading
from agent.sim.gitlab.graphql.run import DENIED, FieldError, Render, Run, can_fail
from agent.sim.gitlab.graphql.schema import Schema
from agent.sim.gitlab.objects import BUILD
from agent.sim.gitlab.places import Token, World
from agent.sim.gitlab.profile import Profile

Way = Callable[[Any, Given], Any]
"""From a thing and a field's arguments to another thing, a list or Rows; None = null."""


class Asker(NamedTuple):
    """Who asks, when, and what the query costs."""

    token: Token | None
    now: float
    score: int
    limit: int


class Executor:
    """Runs one query."""

    def __init__(self, world: World, profile: Profile, schema: Schema, asker: Asker, run: Run) -> None:
        self._schema = schema
        self._asker = asker
        self._run = run
        introspection = Introspection(schema)
        reading = Reading(world, asker.token, asker.now, profile)
        self._ways = _ways(reading, introspection, asker)
        self._leaves = {**leaves(asker.now, world.url, profile), **introspection.leaves}
        self._leaves["Pipeline"] |= {
            "latest": lambda seen: truth(reading.is_latest(seen)),
            "totalJobs": lambda seen: str(reading.job_count(seen)),
        }

    def data(self, nodes: tuple[Node, ...]) -> str:
        """The value of `data`."""
        return self._object(nodes)(None)

    def _object(self, nodes: tuple[Node, ...]) -> Render:
        template = "{" + ",".join(f'"{node.key}":%s' for node in nodes) + "}"
        fields = tuple(map(self._field, nodes))
        if len(fields) == 1:
            only = fields[0]
            return lambda thing: template % only(thing)
        return lambda thing: template % tuple([field(thing) for field in fields])

    def _field(self, node: Node) -> Render:
        known = node.known
        if known.name == "__typename":
            constant = f'"{node.owner}"'
            return lambda _thing: constant
        if self._schema.is_leaf(known.named):
            return self._leaves[node.owner][known.name]
        render = self._connection(node) if known.is_connection else self._linked(node)
        if node.owner == "Query" and not known.name.startswith("__"):
            return self._run.guarded(node, self._allowed(render))
        return self._run.guarded(node, render) if can_fail(node) else render

    def _allowed(self, render: Render) -> Render:
        """Fields of Query for tokens that may read the API."""
        token = self._asker.token
        if token is None or token.may_read():
            return render

        def denied(_thing: Any) -> str:
            raise FieldError(DENIED)

        return denied

    def _linked(self, node: Node) -> Render:
        """A field that leads to one thing or a plain list."""
        way, given, inner = self._ways[node.owner, node.known.name], node.arguments, self._object(node.children)
        is_list, fragile = "[" in node.known.type, any(map(can_fail, node.children))

        def render(thing: Any) -> str:
            found = way(thing, given)
            if found is None:
                return "null"
            return self._run.each(inner, found, can_fail=fragile) if is_list else inner(found)

        return render

    def _connection(self, node: Node) -> Render:
        """A field that comes in pages."""
        way, given, run = self._ways[node.owner, node.known.name], node.arguments, self._run
        inner = self._page(node.children)

        def render(thing: Any) -> str:
            if node.known.is_resolved:
                run.load(node)
            if node.known.is_once:
                run.once(node)
            rows: Rows | None = way(thing, given)
            if rows is None:
                return "null"
            shown = page(rows, given)
            run.load(node, len(shown.things))
            return inner(shown)

        return render

    def _page(self, nodes: tuple[Node, ...]) -> Render:
        template = "{" + ",".join(f'"{node.key}":%s' for node in nodes) + "}"
        parts = tuple(map(self._part, nodes))
        return lambda shown: template % tuple([part(shown) for part in parts])

    def _part(self, node: Node) -> Render:
        """A field of a connection."""
        name = node.known.name
        if name == "nodes":
            return self._elements(node, self._object(node.children), lambda shown: shown.things)
        if name == "edges":
            return self._elements(node, self._edge(node.children), lambda shown: list(zip(shown.things, shown.keys, strict=True)))
        if name == "count":
            most = node.arguments.get("limit")
            return lambda shown: str(shown.total if most is None else min(shown.total, most + 1))
        if name == "pageInfo":
            return self._object(node.children)
        return self._field(node)

    def _elements(self, node: Node, inner: Render, pick: Callable[[Page], Sequence[Any]]) -> Render:
        run, fragile = self._run, any(map(can_fail, node.children))

        def render(shown: Page) -> str:
            return run.each(inner, pick(shown), can_fail=fragile)

        return run.guarded(node, render) if fragile else render

    def _edge(self, nodes: tuple[Node, ...]) -> Render:
        """An element, as a pair of a thing and its key, with its cursor."""
        parts: list[tuple[str, Render]] = []
        for node in nodes:
            if node.known.name == "node":
                inner = self._inside(self._object(node.children))
                parts.append((node.key, self._run.guarded(node, inner) if can_fail(node) else inner))
            elif node.known.name == "cursor":
                parts.append((node.key, lambda pair: text(cursor(pair[1]))))
            else:
                parts.append((node.key, self._field(node)))
        return lambda pair: "{" + ",".join(f'"{key}":{part(pair)}' for key, part in parts) + "}"

    def _inside(self, inner: Render) -> Render:
        return lambda pair: inner(pair[0])


def _ways(reading: Reading, introspection: Introspection, asker: Asker) -> dict[tuple[str, str], Way]:
    """Where the fields lead that have fields of their own, by type and name."""
    plain: dict[str, dict[str, Callable[[Any], Any]]] = {
        "Query": {
            "metadata": lambda _: (),
            "currentUser": lambda _: reading.user(),
            "queryComplexity": lambda _: {"score": asker.score, "limit": asker.limit},
            "__schema": lambda _: (),
        },
        "Project": {"group": reading.namespace, "repository": lambda project: project, "dora": reading.dora},
        "Dora": {"metrics": reading.metrics},
        "Pipeline": {
            "mergeRequest": reading.merge_request,
            "upstream": reading.upstream,
            "sourceJob": reading.source_job,
            "detailedStatus": reading.pipeline_status,
            "project": reading.home,
            "user": lambda seen: seen[0].user,
            "testReportSummary": reading.report,
        },
        "CiJob": {
            "stage": lambda seen: seen[0].spec.stage,
            "runner": lambda seen: seen[0] if seen[1].started_at is not None and seen[0].spec.kind == BUILD else None,
            "detailedStatus": reading.job_status,
            "downstreamPipeline": reading.downstream_of,
        },
        "TestReportSummary": {"total": reading.totals},
        "__Schema": {"queryType": lambda _: "Query", "types": lambda _: introspection.types()},
        "__Type": {"fields": introspection.fields, "enumValues": introspection.values, "ofType": introspection.inner},
        "__Field": {"args": introspection.arguments, "type": lambda known: known.type},
        "__InputValue": {"type": lambda named: named[1]},
    }
    given: dict[tuple[str, str], Way] = {
        ("Query", "projects"): lambda _, given: reading.projects(None, given),
        ("Query", "project"): lambda _, given: reading.project(given),
        ("Query", "group"): lambda _, given: reading.group(given),
        ("Query", "__type"): lambda _, given: introspection.find(given["name"]),
        ("Group", "projects"): reading.projects,
        ("Project", "pipelines"): reading.pipelines,
        ("Project", "pipeline"): reading.pipeline,
        ("Project", "jobs"): reading.project_jobs,
        ("Project", "environments"): reading.environments,
        ("Pipeline", "jobs"): reading.jobs,
        ("Pipeline", "downstream"): reading.downstream,
        ("Pipeline", "stages"): reading.stages,
        ("Pipeline", "manualVariables"): reading.variables,
        ("CiJob", "artifacts"): reading.artifacts,
        ("TestReportSummary", "testSuites"): reading.suites,
    }
    return given | {(owner, name): _plainly(way) for owner, ways in plain.items() for name, way in ways.items()}


def _plainly(way: Callable[[Any], Any]) -> Way:
    return lambda thing, _given: way(thing)

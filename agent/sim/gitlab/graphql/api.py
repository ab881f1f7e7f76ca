"""GraphQL over a simulated world, as POST /api/graphql answers it (https://docs.gitlab.com/api/graphql/)."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from agent.sim.gitlab.graphql import complexity, values
from agent.sim.gitlab.graphql.execute import Asker, Executor
from agent.sim.gitlab.graphql.parser import Document, parse
from agent.sim.gitlab.graphql.plan import Node, operation, plan
from agent.sim.gitlab.graphql.run import Run
from agent.sim.gitlab.graphql.schema import schema
from agent.sim.gitlab.graphql.trouble import QueryError
from agent.sim.gitlab.graphql.validate import errors
from agent.sim.gitlab.places import Token, World
from agent.sim.gitlab.profile import Profile

MAX_QUERY = 10_000
"""Characters of a query, of all queries of a request together."""
MAX_KEPT = 64
"""Queries whose parsing and validation is remembered."""


class Answer(NamedTuple):
    """What a request is answered."""

    status: int
    body: str
    """JSON."""
    nodes: int = 0
    """Elements of the lists in it."""
    complexity: int = 0


class Graphql:
    """The GraphQL API of one world in one version."""

    def __init__(self, world: World, profile: Profile) -> None:
        self._world = world
        self._profile = profile
        self._schema = schema(profile)
        self._kept: OrderedDict[str, tuple[Document, list[QueryError]]] = OrderedDict()

    def answer(
        self, body: bytes | str, token: Token | None, now: float, *, has_token: bool = False, most_nodes: int | None = None
    ) -> Answer:
        """The answer to a request's body: a query, or a list of them.

        `token`: None = anonymous, or with `has_token` one that is not valid; after `most_nodes` elements of lists the
        time of a request is over, and what is left of the answer is null with an error.
        """
        if token is None and has_token:
            return _refused(401, "Invalid token")
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            return _refused(400, "Invalid JSON")
        requests = asked if isinstance(asked, list) else [asked]
        if not all(isinstance(each, dict) and isinstance(each.get("query", ""), str) for each in requests):
            return _refused(400, "Invalid JSON")
        if sum(len(each.get("query", "")) for each in requests) > MAX_QUERY:
            return _refused(422, "Query too large")
        found = self._all(requests, token, now, most_nodes)
        texts = [each.body for each in found]
        text = f"[{','.join(texts)}]" if isinstance(asked, list) else texts[0]
        return Answer(200, text, sum(each.nodes for each in found), sum(each.complexity for each in found))

    def _all(self, requests: list[Any], token: Token | None, now: float, most_nodes: int | None) -> list[Answer]:
        """The answers to queries, whose complexity is limited in sum."""
        prepared: list[tuple[Node, ...] | list[QueryError]] = []
        for each in requests:
            try:
                prepared.append(self._prepared(each))
            except QueryError as error:
                prepared.append([error])
        planned = [each for each in prepared if isinstance(each, tuple)]
        score, limit = sum(map(complexity.score, planned)), _limit(token)
        deepest = complexity.ANONYMOUS_DEPTH if token is None else complexity.AUTHENTICATED_DEPTH
        found = []
        for one in prepared:
            wrong = one if isinstance(one, list) else complexity.check(one, score, limit, deepest)
            if wrong or isinstance(one, list):
                found.append(Answer(200, json.dumps({"errors": [error.as_json() for error in wrong]})))
                continue
            run = Run(most_nodes)
            asker = Asker(token, now, score, limit)
            data = Executor(self._world, self._profile, self._schema, asker, run).data(one)
            text = f'{{"data":{data}' + (f',"errors":{json.dumps(run.errors)}' if run.errors else "") + "}"
            found.append(Answer(200, text, run.nodes, complexity.score(one)))
        return found

    def _prepared(self, asked: Mapping[str, Any]) -> tuple[Node, ...] | list[QueryError]:
        """What is to be run, or what is wrong with it. Raises QueryError for the latter, too."""
        document, wrong = self._valid(asked.get("query", ""))
        if wrong:
            return wrong
        wanted = operation(document, asked.get("operationName") or "")
        given = _variables(asked.get("variables"))
        return plan(document, wanted, values.variables(wanted.variables, given, self._schema), self._schema)

    def _valid(self, text: str) -> tuple[Document, list[QueryError]]:
        if text not in self._kept:
            document = parse(text)
            if len(self._kept) >= MAX_KEPT:
                self._kept.popitem(last=False)
            self._kept[text] = document, errors(document, self._schema)
        return self._kept[text]


def _variables(given: Any) -> Mapping[str, Any]:
    """A request's variables, which may also come as text. Raises QueryError."""
    try:
        found = json.loads(given) if isinstance(given, str) and given else given or {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise QueryError("Variables are not an object", None)
    return found


def _limit(token: Token | None) -> int:
    if token is None:
        return complexity.ANONYMOUS
    return complexity.ADMIN if token.is_admin else complexity.AUTHENTICATED


def _refused(status: int, message: str) -> Answer:
    return Answer(status, json.dumps({"errors": [{"message": message}]}))

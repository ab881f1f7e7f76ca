"""GraphQL over a simulated world, as POST /api/graphql answers it (https://docs.gitlab.com/api/graphql/)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from agent.sim.gitlab.graphql import complexity, values
from agent.sim.gitlab.graphql.execute import Asker, Executor
from agent.sim.gitlab.graphql.parser import parse
from agent.sim.gitlab.graphql.plan import Node, operation, plan
from agent.sim.gitlab.graphql.run import Run
from agent.sim.gitlab.graphql.schema import schema
from agent.sim.gitlab.graphql.syntax import Document
from agent.sim.gitlab.graphql.trouble import Json, QueryError
from agent.sim.gitlab.graphql.validate import errors
from agent.sim.gitlab.places import Token, World
from agent.sim.gitlab.profile import Profile

MAX_QUERY = 10_000
"""Characters of a query, of all queries of a request together."""

Prepared = tuple[Node, ...] | list[QueryError]
"""What is to be run, or what is wrong with it."""


class Answer(NamedTuple):
    """What a request is answered."""

    status: int
    body: bytes
    """JSON."""
    nodes: int = 0
    """Elements of the lists in it."""
    complexity: int = 0
    """Of all its queries."""


class _RefusalError(Exception):
    """The request is answered with a status that says no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def answer(
    world: World, token: Token | None, profile: Profile, now: float, body: bytes, *, most_nodes: int | None = None
) -> Answer:
    """The answer to a request's body: a query, or a list of them.

    `token`: None = anonymous. After more than `most_nodes` elements of lists the time of a query is over: lists that were
    not read by then are null, with errors that say so.
    """
    try:
        requests, is_list = _requests(body)
    except _RefusalError as refusal:
        return Answer(refusal.status, json.dumps({"errors": [{"message": str(refusal)}]}).encode())
    prepared = [_prepared(each, profile) for each in requests]
    score = sum(complexity.score(each) for each in prepared if isinstance(each, tuple))
    asker = Asker(token, now, score, _limit(token))
    runs = [Run(most_nodes) for _ in prepared]
    texts = [_text(each, asker, run, world, profile) for each, run in zip(prepared, runs, strict=True)]
    text = f"[{','.join(texts)}]" if is_list else texts[0]
    return Answer(200, text.encode(), sum(run.nodes for run in runs), score)


def _requests(body: bytes) -> tuple[list[Json], bool]:
    """The queries of a request with what belongs to them, and whether they came in a list. Raises _RefusalError."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        raise _RefusalError(400, "Invalid JSON") from None
    requests = asked if isinstance(asked, list) else [asked]
    if not all(isinstance(each, dict) and isinstance(each.get("query", ""), str) for each in requests):
        raise _RefusalError(400, "Invalid JSON")
    if sum(len(each.get("query", "")) for each in requests) > MAX_QUERY:
        raise _RefusalError(422, "Query too large")
    return requests, isinstance(asked, list)


def _prepared(asked: Mapping[str, Any], profile: Profile) -> Prepared:
    try:
        document, wrong = _valid(asked.get("query", ""), profile)
        if wrong:
            return wrong
        known, wanted = schema(profile), operation(document, asked.get("operationName") or "")
        given = values.variables(wanted.variables, _variables(asked.get("variables")), known)
        return plan(document, wanted, given, known)
    except QueryError as error:
        return [error]


@lru_cache(maxsize=64)
def _valid(text: str, profile: Profile) -> tuple[Document, list[QueryError]]:
    """A query and what is wrong with it whatever its variables. Raises QueryError where it cannot be read."""
    document = parse(text)
    return document, errors(document, schema(profile))


def _text(prepared: Prepared, asker: Asker, run: Run, world: World, profile: Profile) -> str:
    """The answer to one query."""
    deepest = complexity.ANONYMOUS_DEPTH if asker.token is None else complexity.AUTHENTICATED_DEPTH
    if isinstance(prepared, tuple):
        wrong = complexity.check(prepared, asker.score, asker.limit, deepest)
        if not wrong:
            data = Executor(world, profile, schema(profile), asker, run).data(prepared)
            return f'{{"data":{data}' + (f',"errors":{json.dumps(run.errors)}' if run.errors else "") + "}"
    else:
        wrong = prepared
    return json.dumps({"errors": [error.as_json() for error in wrong]})


def _variables(given: Any) -> Mapping[str, Any]:
    """A request's variables, which may also come as text. Raises QueryError."""
    try:
        found = json.loads(given) if isinstance(given, str) and given else given or {}
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise QueryError("Variables are not an object", None)
    return found


def _limit(token: Token | None) -> int:
    if token is None:
        return complexity.ANONYMOUS
    return complexity.ADMIN if token.is_admin else complexity.AUTHENTICATED

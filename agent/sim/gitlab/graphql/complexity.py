"""What a query costs: GitLab's rule (https://docs.gitlab.com/api/graphql/#limits, app/graphql/types/base_field.rb)."""

from __future__ import annotations

from collections.abc import Iterable

from agent.sim.gitlab.graphql.plan import Node
from agent.sim.gitlab.graphql.trouble import QueryError

PAGE = 100
"""Most elements of a page, however many are asked for."""
ANONYMOUS, AUTHENTICATED, ADMIN = 200, 250, 300
"""Most complexity, by who asks."""
ANONYMOUS_DEPTH, AUTHENTICATED_DEPTH = 15, 20


def score(nodes: Iterable[Node]) -> int:
    """The complexity of these fields with all below them."""
    return sum(map(_score, nodes))


def _score(node: Node) -> int:
    below = score(node.children)
    known, given = node.known, node.arguments
    found = below + 1 + known.is_gitaly
    if not known.is_resolved:
        return found
    found += ("sort" in given) + 5 * ("search" in given)
    if known.named == "PipelineConnection":
        found += 2 * ("ref" in given) + 2 * ("sha" in given)
    if not known.is_connection:
        return found
    page: int = min(given.get("first", PAGE), given.get("last", PAGE), PAGE)
    return found + found * max(page, 0) // 100


def depth(nodes: Iterable[Node]) -> int:
    """How many fields are in one another."""
    return max((1 + depth(node.children) for node in nodes), default=0)


def check(nodes: tuple[Node, ...], score_of_all: int, limit: int, depth_limit: int) -> list[QueryError]:
    """What of a query is over these limits; complexity is that of all queries of a request."""
    found = []
    if (deep := depth(nodes)) > depth_limit:
        found.append(QueryError(f"Query has depth of {deep}, which exceeds max depth of {depth_limit}", None))
    if score_of_all > limit:
        found.append(QueryError(f"Query has complexity of {score_of_all}, which exceeds max complexity of {limit}", None))
    return found

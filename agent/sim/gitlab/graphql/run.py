"""What becomes of one query while it runs: nodes counted, errors with their paths, limits on what it may load."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.sim.gitlab.graphql.plan import Node
from agent.sim.gitlab.graphql.trouble import Json, QueryError

Render = Callable[[Any], str]
"""From a thing to its JSON."""
DENIED = "The resource that you are attempting to access does not exist or you don't have permission to perform this action"


class FieldError(Exception):
    """A field that cannot be answered: it is null, and the message goes into `errors`."""


class _NulledError(Exception):
    """Something that must not be null is: what it is part of is null instead."""


@dataclass(slots=True)
class Run:
    """One execution."""

    most_nodes: int | None = None
    """For more nodes the 30 seconds of a request are not enough; None = they always are."""
    nodes: int = 0
    """Elements of lists so far."""
    errors: list[Json] = field(default_factory=list)
    path: list[str | int] = field(default_factory=list)
    """To what is being rendered."""
    _calls: Counter[str] = field(default_factory=Counter)

    def load(self, node: Node, count: int = 0) -> None:
        """A list is being read, or `count` elements of it were. Raises FieldError where there is no time left."""
        if not count and self.most_nodes is not None and self.nodes > self.most_nodes:
            raise FieldError(f"Timeout on {node.owner}.{node.known.name}")
        self.nodes += count

    def once(self, node: Node) -> None:
        """A field that a request may have of one object only. Raises FieldError at the second."""
        name = f"{node.owner}.{node.known.name}"
        self._calls[name] += 1
        if self._calls[name] > 1:
            raise FieldError(f'"{node.known.name}" field can be requested only for 1 {node.owner}(s) at a time.')

    def guarded(self, node: Node, render: Render) -> Render:
        """`render` of a field that may fail, or of one with such fields below it."""
        key, is_required = node.key, node.known.type.endswith("!")

        def guard(thing: Any) -> str:
            self.path.append(key)
            try:
                return render(thing)
            except FieldError as error:
                self.errors.append(QueryError(str(error), node.at, path=self.path).as_json())
                if is_required:
                    raise _NulledError from None
            except _NulledError:
                if is_required:
                    raise
            finally:
                self.path.pop()
            return "null"

        return guard

    def each(self, render: Render, things: Sequence[Any], *, can_fail: bool) -> str:
        """A list of things."""
        if not can_fail:
            return f"[{','.join(map(render, things))}]"
        found = []
        for place, thing in enumerate(things):
            self.path.append(place)
            try:
                found.append(render(thing))
            except _NulledError:
                found.append("null")
            finally:
                self.path.pop()
        return f"[{','.join(found)}]"


def can_fail(node: Node) -> bool:
    """Whether an error can come up at a field or below it."""
    is_fragile = node.known.is_resolved or "after" in node.arguments or "before" in node.arguments
    return is_fragile or any(map(can_fail, node.children))

"""What the schema says of itself (https://spec.graphql.org/October2021/#sec-Introspection)."""

from __future__ import annotations

from agent.sim.gitlab.graphql.formats import text
from agent.sim.gitlab.graphql.leaves import Leaf
from agent.sim.gitlab.graphql.schema import SCALARS, Known, Schema

Named = tuple[str, str]
"""An argument's name and type."""


class Introspection:
    """Of one schema. A type is the text that names it, with its marks."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self.leaves: dict[str, dict[str, Leaf]] = {
            "__Type": {"kind": lambda of: f'"{self._kind(of)}"', "name": lambda of: text(None if of[-1] in "!]" else of)},
            "__Field": {"name": lambda known: text(known.name)},
            "__InputValue": {"name": lambda named: text(named[0])},
            "__EnumValue": {"name": text},
        }

    def find(self, name: str) -> str | None:
        """The type of that name."""
        known = (self._schema.types, self._schema.enums, SCALARS)
        return name if any(name in names for names in known) else None

    def types(self) -> list[str]:
        """All of them."""
        return [*self._schema.types, *self._schema.enums, *sorted(SCALARS)]

    def fields(self, of: str) -> list[Known] | None:
        """Those of an object type."""
        found = self._schema.types.get(of)
        return None if found is None else [known for name, known in found.items() if not name.startswith("__")]

    def values(self, of: str) -> list[str] | None:
        """Those of an enum."""
        return list(self._schema.enums[of]) if of in self._schema.enums else None

    def inner(self, of: str) -> str | None:
        """What a list or a type that is never null is made of."""
        if of.endswith("!"):
            return of[:-1]
        return of[1:-1] if of.endswith("]") else None

    def arguments(self, known: Known) -> list[Named]:
        """Those of a field."""
        return list(known.arguments.items())

    def _kind(self, of: str) -> str:
        if of.endswith("!"):
            return "NON_NULL"
        if of.endswith("]"):
            return "LIST"
        if of in self._schema.enums:
            return "ENUM"
        return "OBJECT" if of in self._schema.types else "SCALAR"

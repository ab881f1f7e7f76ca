"""What a query is told is wrong with it, in the shape of GraphQL's errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]


class QueryError(Exception):
    """A complaint about a query or a part of its answer."""

    def __init__(
        self,
        message: str,
        at: tuple[int, int] | None,
        *,
        path: Sequence[str | int] = (),
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self._at = at
        self._path = path
        self._extensions = extensions

    def as_json(self) -> Json:
        """The error as it stands in `errors`."""
        found: Json = {"message": str(self)}
        if self._at is not None:
            found["locations"] = [{"line": self._at[0], "column": self._at[1]}]
        if self._path:
            found["path"] = list(self._path)
        if self._extensions is not None:
            found["extensions"] = dict(self._extensions)
        return found

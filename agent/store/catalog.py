"""Which tables and scopes there are, and which tables could hold the same series."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent.model import Family
from agent.store.claims import Place
from agent.store.encode import sample_names
from agent.store.pages import View
from agent.store.table import Feed, Scope, Table


class Catalog:
    """Tables, opened at a family's first update and closed when nothing uses them; scopes by number."""

    def __init__(self) -> None:
        self.tables: list[Table] = []
        self.scopes: list[Scope] = []
        """By the number that rows carry; a number is used again once its scope is gone."""
        self._free: list[int] = []
        self._siblings: dict[tuple[str, tuple[tuple[str, str], ...], frozenset[str]], list[Table]] = {}

    def open_table(self, feed: Feed, family: Family, group: str, default_ttl: float) -> Table | None:
        """A new table; None for a family whose name or labels no receiver would take."""
        try:
            table = Table(feed, family, group, default_ttl)
        except ValueError:
            return None
        feed.tables[family, group] = table
        self.tables.append(table)
        self._siblings.setdefault(table.key, []).append(table)
        return table

    def close_table(self, table: Table, views: Sequence[View]) -> None:
        """Forget a table that holds no row, and its flush group when it was the last there."""
        self.tables.remove(table)
        table.feed.tables.pop((table.family, table.group), None)
        self._siblings[table.key].remove(table)
        if not self._siblings[table.key]:
            del self._siblings[table.key]
        for scope in table.feed.scopes.values():
            scope.rows.pop(table, None)
        for view in views:
            view.forget(table)
        if table.group and not any(t.group == table.group for t in self.tables):
            for view in views:
                view.drop_group(table.group)

    def scope(self, feed: Feed, name: str) -> Scope:
        """The feed's scope of that name, made on first use."""
        scope = feed.scopes.get(name)
        if scope is None:
            number = self._free.pop() if self._free else len(self.scopes)
            scope = feed.scopes[name] = Scope(feed, name, number)
            self.scopes[number : number + 1] = [scope]
        return scope

    def free_scope(self, scope: Scope) -> None:
        """Its number may be used again."""
        self._free.append(scope.number)

    def drop_scopes(self, feeds: Sequence[Feed]) -> None:
        """Forget scopes without a series that no collect is under way for."""
        for feed in feeds:
            for scope in [s for s in feed.scopes.values() if not (s.live or s.held or s.lost_until)]:
                del feed.scopes[scope.name]
                self._free.append(scope.number)

    def elsewhere(self, table: Table, labels: tuple[str, ...]) -> Iterator[Place]:
        """Live rows of these labels in other tables of the same name."""
        siblings = self._siblings.get(table.key, ())
        if len(siblings) > 1:
            pairs = dict(zip(table.family.labels, labels, strict=True))
            for other in siblings:
                row = other.index.get(tuple([pairs[name] for name in other.family.labels]))
                if row is not None and other is not table:
                    yield other, row

    def heirs(self, table: Table, ended: int) -> tuple[Sequence[Place], Sequence[int]]:
        """See `claims.Heirs`."""
        labels = table.labels[ended]
        row = table.index.get(labels)
        if row is not None:
            return [(table, row)], ()
        places = list(self.elsewhere(table, labels))
        if not places:
            return (), range(table.width)
        alive = {sample for other, _ in places for sample in sample_names(other)}
        return places, [number for number, sample in enumerate(sample_names(table)) if sample not in alive]

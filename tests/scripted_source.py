"""A source that has what it has to tell in pieces, and a poller that shows how many it has told."""

from __future__ import annotations

from agent.model import Collected, Family, Kind, Poller, Update
from agent.plugin import Context, SourceOptions

PIECES = Family("pieces", Kind.GAUGE, "Pieces.")
FAMILIES = (PIECES,)


class Options(SourceOptions):
    """How many pieces there are."""

    pieces: int = 1


class ScriptedSource:
    """The poller that shows comes first and needs nothing."""

    def __init__(self, options: Options, context: Context) -> None:
        self._pieces = options.pieces
        self._clock = context.clock
        self._told = 0

    def pollers(self) -> tuple[Poller, ...]:
        """What shows, and what is told."""
        return Poller("shown", 10.0, self._show), Poller("told", 10.0, self._tell, durable=True)

    async def aclose(self) -> None:
        """There is nothing to let go of."""

    async def _show(self, _cursor: object) -> Collected:
        return Collected([Update(PIECES, (), self._told, self._clock(), "all")], complete=("all",))

    async def _tell(self, _cursor: object) -> Collected:
        self._told += 1
        return Collected(cursor=str(self._told), again=self._told < self._pieces)


def build(name: str, options: Options, context: Context) -> ScriptedSource:
    """The source."""
    return ScriptedSource(options, context)

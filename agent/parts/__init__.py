"""The running sources and lanes: made, started, replaced and stopped by name.

The runtime owns the task group; whatever is started here runs in it, inside a cancel scope of its own, so
that a reload can end one part and leave the rest alone. Making a part is offline and changes nothing.
"""

from agent.parts.lanes import Lanes, RunningLane, Sink, shared
from agent.parts.life import CLOSE_SECONDS, Life
from agent.parts.listeners import Listeners
from agent.parts.sources import RunningSource, Sources

__all__ = ["CLOSE_SECONDS", "Lanes", "Life", "Listeners", "RunningLane", "RunningSource", "Sink", "Sources", "shared"]

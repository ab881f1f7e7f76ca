"""The flush: writes the store's pages and hands finished blocks to the lanes."""

from agent.flush.clock import SampleClock
from agent.flush.flusher import FAMILIES, FIRST_SECONDS, Flusher

__all__ = ["FAMILIES", "FIRST_SECONDS", "Flusher", "SampleClock"]

"""Delivery: one lane per sink takes what waits for it, in order, and sends it until the receiver has it."""

from agent.deliver.lane import Lane, LaneStatus
from agent.deliver.report import FAMILIES

__all__ = ["FAMILIES", "Lane", "LaneStatus"]

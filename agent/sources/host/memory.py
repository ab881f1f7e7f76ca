"""Memory and swap: what the agent's machine or container may use."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from agent.model import Family, Kind
from agent.sources.host.cgroup import MemoryLimit
from agent.sources.host.reader import Reader, Reading


def _bytes(name: str, help: str) -> Family:
    return Family(name, Kind.GAUGE, help, "bytes")


TOTAL = _bytes("host_memory_total_bytes", "Memory of the machine or, inside a limited container, the limit.")
USED = _bytes("host_memory_used_bytes", "Memory in use; in a limited container without page cache that can be dropped at once.")
AVAILABLE = _bytes("host_memory_available_bytes", "Memory that could be had without swapping.")
PERCENT = Family("host_memory_usage_percentage", Kind.GAUGE, "Used memory as a share of the total, 0-100.")
OOM_KILLS = Family(
    "host_memory_oom_kills_total",
    Kind.COUNTER,
    "Processes killed because the limiting control group was full; only inside a limited container.",
)
SWAP_TOTAL = _bytes("host_swap_total_bytes", "Swap of the machine.")
SWAP_USED = _bytes("host_swap_used_bytes", "Swap of the machine in use.")
SWAP_FREE = _bytes("host_swap_free_bytes", "Swap of the machine not in use.")

FAMILIES = (TOTAL, USED, AVAILABLE, PERCENT, OOM_KILLS, SWAP_TOTAL, SWAP_USED, SWAP_FREE)


def read_memory(reader: Reader, limit: Callable[[int], MemoryLimit | None]) -> Iterator[Reading]:
    """Memory within `limit`, which is asked with the machine's bytes; raises what the reader raises."""
    machine = reader.virtual_memory()
    total, used, available = machine.total, machine.used, machine.available
    allowed = limit(total)
    if allowed is not None:
        total, used = allowed.total, allowed.used
        available = min(allowed.available, available)
        if allowed.oom_kills is not None:
            yield OOM_KILLS, (), float(allowed.oom_kills)
    yield TOTAL, (), float(total)
    yield USED, (), float(used)
    yield AVAILABLE, (), float(available)
    if total:
        yield PERCENT, (), 100 * used / total


def read_swap(reader: Reader) -> Iterator[Reading]:
    """Swap of the machine; raises what the reader raises."""
    swap = reader.swap_memory()
    yield SWAP_TOTAL, (), float(swap.total)
    yield SWAP_USED, (), float(swap.used)
    yield SWAP_FREE, (), float(swap.free)

"""What the store says about itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from agent.model import Priority
from agent.selfmon import SelfMonitor, counter, gauge
from agent.store.store import Store

SERIES = gauge("cipush_store_series", "Live series in the store.", "priority")
BYTES = gauge("cipush_store_row_bytes", "Estimated bytes of the rows of live series.", "priority", unit="bytes")
PAGE_BYTES = gauge("cipush_store_page_bytes", "Bytes of encoded pages, all views.", unit="bytes")
MAX_BYTES = gauge("cipush_store_max_bytes", "The store's effective byte limit.", unit="bytes")
MAX_SERIES = gauge("cipush_store_max_series", "The store's series limit.")
EXPIRED = counter("cipush_store_expired_total", "Series that ended because nothing was heard of them for their TTL.")
ENDED = counter("cipush_store_ended_total", "Series that ended because their source no longer reports them.")
EVICTED = counter("cipush_store_evicted_total", "Series evicted from a full store.", "reason", "priority")
REFUSED = counter("cipush_store_refused_total", "Updates refused, by reason.", "reason")
LATE = counter("cipush_store_late_total", "Updates older than what the series already had.")
RELABEL_DROPPED = counter(
    "cipush_relabel_dropped_series_total",
    "Series that a sink's rules, or the agent's, kept from it when they were born: drop, keep, limit, invalid (a metric name "
    "that is none) or collision (another series has the same labels by then).",
    "sink",
    "reason",
)
FAMILIES = (SERIES, BYTES, PAGE_BYTES, MAX_BYTES, MAX_SERIES, EXPIRED, ENDED, EVICTED, REFUSED, LATE, RELABEL_DROPPED)


def publish(store: Store, monitor: SelfMonitor) -> None:
    """Copy the store's counts into the monitor; called before every flush."""
    for priority in Priority:
        labels = (priority.name.lower(),)
        monitor.set(SERIES, labels, store.series[priority])
        monitor.set(BYTES, labels, store.row_bytes[priority])
    monitor.set(PAGE_BYTES, (), store.page_bytes)
    monitor.set(MAX_BYTES, (), store.max_bytes)
    monitor.set(MAX_SERIES, (), store.limits.max_series)
    names = {"expired": EXPIRED, "ended": ENDED, "evicted": EVICTED, "refused": REFUSED, "late": LATE}
    for word in ("expired", "ended", "late"):
        monitor.add(names[word], (), 0)
    for (word, *rest), count in store.counts.items():
        monitor.set(names[word], tuple(rest), count)


def publish_refused(refused: Counter[str], sinks: Iterable[str], monitor: SelfMonitor) -> None:
    """Count for every sink of a view what its rules refused since last time, and begin anew."""
    for sink in sinks:
        for reason, count in refused.items():
            monitor.add(RELABEL_DROPPED, (sink, reason), count)
    refused.clear()

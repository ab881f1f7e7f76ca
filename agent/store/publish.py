"""What the store says about itself."""

from __future__ import annotations

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
FAMILIES = (SERIES, BYTES, PAGE_BYTES, MAX_BYTES, MAX_SERIES, EXPIRED, ENDED, EVICTED, REFUSED, LATE)


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

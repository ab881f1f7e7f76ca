"""What a lane tells about itself: its metrics, its log lines, the facts of its status."""

from __future__ import annotations

import logging
from math import nan
from typing import Literal

from agent.deliver.flow import Flow
from agent.model import SKEW_SECONDS, Accepted, Family, Kind, Misconfigured, Outcome, Rejected, Retry, TooLarge
from agent.secret import redact
from agent.selfmon import SelfMonitor, counter, gauge
from agent.spool.entry import Stats

log = logging.getLogger(__name__)

REQUESTS = counter("cipush_sink_requests_total", "Requests sent, by HTTP status or by what failed before one.", "sink", "code")
SENT = counter("cipush_sink_samples_sent_total", "Samples the receiver accepted.", "sink")
DROPPED = counter("cipush_sink_samples_dropped_total", "Samples given up, by reason.", "sink", "reason")
BYTES = counter("cipush_sink_bytes_sent_total", "Bytes of request bodies that the receiver accepted.", "sink")
RETRIES = counter("cipush_sink_retries_total", "Sends that failed in a way that is tried again.", "sink")
QUEUE_BYTES = gauge("cipush_sink_queue_bytes", "Bytes waiting to be accepted.", "sink", unit="bytes")
QUEUE_SAMPLES = gauge("cipush_sink_queue_samples", "Samples waiting to be accepted.", "sink")
OLDEST_AGE = gauge(
    "cipush_sink_oldest_pending_age_seconds", "Age of the oldest thing waiting; 0 = nothing waits.", "sink", unit="seconds"
)
LAST_SUCCESS = gauge(
    "cipush_sink_last_success_timestamp_seconds", "When the receiver last accepted something; 0 = never.", "sink", unit="seconds"
)
HIGHEST_SENT = gauge(
    "cipush_sink_highest_sent_timestamp_seconds", "The newest sample time the receiver accepted.", "sink", unit="seconds"
)
SKEW = gauge(
    "cipush_sink_clock_skew_seconds",
    "How far the receiver's clock, from its Date header, is ahead of ours.",
    "sink",
    unit="seconds",
)
UP = gauge("cipush_sink_up", "Whether the last request was accepted.", "sink")
DURATION = Family(
    "cipush_sink_request_duration_seconds",
    Kind.HISTOGRAM,
    "How long a send took until its outcome was known.",
    "seconds",
    ("sink",),
    buckets=(0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
DRAIN = gauge(
    "cipush_sink_drain_seconds",
    "When the queue will be empty at the present rates; 0 = nothing waits, NaN = it does not shrink.",
    "sink",
    unit="seconds",
)
FALLEN_BACK = gauge("cipush_sink_form_fallback", "Whether a simpler form is sent than configured.", "sink")
FAMILIES = (
    REQUESTS, SENT, DROPPED, BYTES, RETRIES, QUEUE_BYTES, QUEUE_SAMPLES,
    OLDEST_AGE, LAST_SUCCESS, HIGHEST_SENT, SKEW, UP, DURATION, DRAIN, FALLEN_BACK,
)  # fmt: skip

QUIET_SECONDS = 300.0
"""A loss of the same kind is logged again after this long at the earliest."""

State = Literal["new", "ok", "retrying", "parked", "rejecting"]


class Report:
    """The past-tense side of one lane: each method says that something happened.

    A receiver's failure is logged when it begins, changes and ends, not on every try.
    """

    def __init__(self, sink: str, url: str, monitor: SelfMonitor) -> None:
        self.state: State = "new"
        self.last_error = ""
        self.last_error_at = 0.0
        self.last_success = 0.0
        self.retries = 0
        self.sent = 0
        self.dropped = 0
        self._sink = sink
        self._where = f"sink {sink} ({url})"
        self._monitor = monitor
        self._trouble: tuple[State, str] | None = None
        self._since = 0.0
        self._told: dict[str, float] = {}
        self.skew: float | None = None
        """How far the receiver's clock is ahead of ours, seconds; None = it never told."""
        self._skewed = False
        self.flow = Flow()
        for family in (SENT, BYTES, RETRIES, QUEUE_BYTES, QUEUE_SAMPLES, OLDEST_AGE, LAST_SUCCESS, UP, DRAIN, FALLEN_BACK):
            # Alerts need the zero before the first one happens.
            monitor.add(family, (sink,), 0)

    def answered(self, outcome: Outcome, seconds: float) -> None:
        """A send came to an end after `seconds`."""
        requests = outcome.requests if isinstance(outcome, Accepted) else 1
        self._monitor.add(REQUESTS, (self._sink, outcome.code), requests)
        self._monitor.observe(DURATION, (self._sink,), seconds)

    def accepted(self, outcome: Accepted, samples: int, size: int, timestamp_ms: int, now: float) -> None:
        """The receiver has `samples` more, in a body of `size` bytes."""
        labels = (self._sink,)
        self._monitor.add(SENT, labels, samples)
        self._monitor.add(BYTES, labels, size)
        self._monitor.set(LAST_SUCCESS, labels, now)
        self._monitor.set(UP, labels, 1.0)
        newest = max(timestamp_ms / 1000, self._monitor.value(HIGHEST_SENT, labels))
        self._monitor.set(HIGHEST_SENT, labels, newest)
        if outcome.date is not None:
            self._note_skew(outcome.date - now)
        self.sent += samples
        self.last_success = now
        if self._trouble is not None:
            log.info("%s accepts again after %.0f s", self._where, now - self._since)
            self._trouble = None
        self.state = "ok"

    def partly(self, outcome: Rejected, written: int, samples: int, size: int, timestamp_ms: int, now: float) -> None:
        """The receiver stored `written` of the samples and refused the others, for good."""
        labels = (self._sink,)
        self._monitor.add(SENT, labels, written)
        self._monitor.add(BYTES, labels, size)
        self.sent += written
        if written:
            newest = max(timestamp_ms / 1000, self._monitor.value(HIGHEST_SENT, labels))
            self._monitor.set(HIGHEST_SENT, labels, newest)
        self.refused(outcome, "rejected", samples - written, now)

    def fallen_back(self, is_fallen_back: bool) -> None:
        """A simpler form than configured is sent, or no longer."""
        self._monitor.set(FALLEN_BACK, (self._sink,), float(is_fallen_back))

    def _note_skew(self, skew: float) -> None:
        self.skew = skew
        self._monitor.set(SKEW, (self._sink,), skew)
        skewed = abs(skew) > SKEW_SECONDS
        if skewed and not self._skewed:
            log.warning("%s: its clock is %.0f s ahead of ours; check both clocks", self._where, skew)
        elif self._skewed and not skewed:
            log.info("%s: the clocks agree again", self._where)
        self._skewed = skewed

    def held_up(self, outcome: Retry | Misconfigured, wait: float, now: float, bug: Exception | None) -> None:
        """The same bytes are sent again in `wait` seconds. `bug` is what the sink raised, if it did."""
        self._monitor.add(RETRIES, (self._sink,))
        self._monitor.set(UP, (self._sink,), 0.0)
        self.retries += 1
        self._failed(outcome.reason, now)
        self.state = "parked" if isinstance(outcome, Misconfigured) else "retrying"
        trouble = (self.state, outcome.code)
        if trouble == self._trouble:
            return
        if self._trouble is None:
            self._since = now
        self._trouble = trouble
        if isinstance(outcome, Misconfigured):
            log.error(
                "%s: %s; check its address and credentials; data is kept, asking again every minute", self._where, self.last_error
            )
        else:
            log.warning("%s: %s; trying again in %.1f s", self._where, self.last_error, wait, exc_info=bug)

    def refused(self, outcome: Rejected | TooLarge, reason: str, samples: int, now: float) -> None:
        """The receiver will never take these."""
        self._monitor.set(UP, (self._sink,), 0.0)
        self.state = "rejecting"
        self._failed(outcome.reason, now)
        self.lost(reason, samples, now, self.last_error)

    def lost(self, reason: str, samples: int, now: float, words: str = "") -> None:
        """`samples` were given up."""
        self._monitor.add(DROPPED, (self._sink, reason), samples)
        self.dropped += samples
        told = self._told.get(reason)
        if told is None or now - told >= QUIET_SECONDS:
            self._told[reason] = now
            log.warning("%s: dropped %d samples, %s%s", self._where, samples, reason.replace("_", " "), words and f": {words}")

    def pending(self, stats: Stats, now: float) -> None:
        """This much waits now."""
        labels = (self._sink,)
        self._monitor.set(QUEUE_BYTES, labels, stats.bytes)
        self._monitor.set(QUEUE_SAMPLES, labels, stats.samples)
        self._monitor.set(OLDEST_AGE, labels, 0.0 if stats.oldest_created is None else max(0.0, now - stats.oldest_created))
        self.flow.note(stats.bytes, now)
        drain = self.flow.drain_seconds
        self._monitor.set(DRAIN, labels, 0.0 if not stats.bytes else nan if drain is None else drain)

    def _failed(self, reason: str, now: float) -> None:
        self.last_error = redact(reason)
        self.last_error_at = now

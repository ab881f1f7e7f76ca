"""Sends what an entry holds until the receiver has it or will never take it: every outcome is acted on here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import anyio

from agent.deliver.forms import Forms
from agent.deliver.parcel import MOST_SPLITS, POISON_MEMORY_SECONDS, Parcel
from agent.deliver.rate import Rate
from agent.deliver.report import Report
from agent.leaps import Leaps
from agent.model import Accepted, Block, Misconfigured, Outcome, Rejected, Retry, Snapshot, TooLarge, Unsupported
from agent.plugin import Policy
from agent.spool.entry import Item, size_of
from agent.wire.transcode import recoded

MOST_LEAP_SECONDS = 60.0
"""A clock that is further ahead than it was a moment ago is not believed at once."""

_Item = TypeVar("_Item", Block, Snapshot, contravariant=True)


class Sender(Protocol[_Item]):
    """What a lane needs of a sink, history or state."""

    @property
    def url(self) -> str:
        """Where it sends, without credentials."""
        ...

    async def send(self, item: _Item, /) -> Outcome:
        """One send."""
        ...


class Quarantine(Protocol):
    """Where dropped blocks are kept for a look."""

    def keep(self, block: Block, code: str, reason: str, now: float) -> None:
        """Keep one; never raises."""
        ...


class HeldUp(Exception):  # noqa: N818  no error: the receiver wants us to wait
    """What is left is to be sent again later. `bug`: what the sink raised, if it did."""

    def __init__(self, outcome: Retry | Misconfigured, bug: Exception | None) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome
        self.bug = bug


class Courier(Generic[Item]):
    """Delivers parcels through one sink. `clock` tells seconds since the epoch; `answered` is called on each success."""

    def __init__(
        self,
        sink: Sender[Item],
        policy: Policy,
        report: Report,
        forms: Forms,
        clock: Callable[[], float],
        answered: Callable[[], None],
        quarantine: Quarantine | None,
    ) -> None:
        self._sink: Sender[Item] = sink
        self._policy = policy
        self._report = report
        self._forms = forms
        self._clock = clock
        self._answered = answered
        self._quarantine = quarantine
        self._leaps = Leaps()
        self._poisoned_at = float("-inf")
        """When a block was last found to be what the receiver fails at."""
        self._rate = Rate(policy.rate_limit_bytes_per_second)

    async def deliver(self, parcel: Parcel[Item]) -> None:
        """Send the parts in order until nothing is left. Raises HeldUp."""
        while parcel.parts:
            now = self._clock()
            too_old = self._too_old(parcel.parts[0], now)
            if too_old is not None:
                self._report.lost(too_old, parcel.parts.popleft().samples, now)
                continue
            part = self._in_form(parcel, now)
            if part is None:
                continue
            if parcel.bad and parcel.doubted is not part:
                parcel.asked += 1
            outcome, bug = await self._send(part)
            await self._act(parcel, part, outcome, bug)

    async def _act(self, parcel: Parcel[Item], part: Item, outcome: Outcome, bug: Exception | None) -> None:
        if isinstance(outcome, Retry) and bug is None and await self._is_poison(parcel, outcome):
            outcome = Rejected(outcome.code, f"{outcome.reason} (while other samples are accepted)")
        if isinstance(outcome, Unsupported):
            if self._made_simpler(parcel, part, outcome):
                return
            outcome = Misconfigured(outcome.code, outcome.reason)
        if isinstance(outcome, Retry | Misconfigured):
            raise HeldUp(outcome, bug)
        now = self._clock()
        parcel.failures = 0
        self._answered()
        if isinstance(outcome, Accepted):
            parcel.parts.popleft()
            self._accepted(parcel, part, outcome, now)
        elif isinstance(outcome, TooLarge):
            self._split(parcel, part, outcome, now)
        else:
            self._refused(parcel, part, outcome, now)

    def _accepted(self, parcel: Parcel[Item], part: Item, outcome: Accepted, now: float) -> None:
        if isinstance(part, Block) and not parcel.in_doubt:
            self._forms.accepted(part, now)
        written = part.samples if outcome.written is None else min(outcome.written, part.samples)
        self._report.accepted(outcome, written, size_of(part), part.timestamp_ms, now)
        if written < part.samples:
            self._report.lost("not_written", part.samples - written, now, "accepted, but the receiver says it stored fewer")

    def _refused(self, parcel: Parcel[Item], part: Item, outcome: Rejected, now: float) -> None:
        """Save what is good of it, where that can be found out."""
        if outcome.written is not None:
            parcel.parts.popleft()
            self._report.partly(outcome, min(outcome.written, part.samples), part.samples, size_of(part), part.timestamp_ms, now)
            return
        parcel.in_doubt = True
        try:
            if part.samples and not self._policy.strict_spec and parcel.bisect():
                return
        except ValueError as error:
            outcome = Rejected(outcome.code, f"{outcome.reason}; and it cannot be taken apart: {error}")
        self._drop(parcel, part, outcome, "rejected", now)

    def _split(self, parcel: Parcel[Item], part: Item, outcome: TooLarge, now: float) -> None:
        """Send the halves instead; what cannot be made smaller is dropped."""
        try:
            if parcel.halve(largest=MOST_SPLITS):
                return
        except ValueError as error:
            outcome = TooLarge(outcome.code, f"{outcome.reason}; and it cannot be split: {error}")
        self._drop(parcel, part, outcome, "too_large", now)

    def _drop(self, parcel: Parcel[Item], part: Item, outcome: Rejected | TooLarge, reason: str, now: float) -> None:
        parcel.parts.popleft()
        self._report.refused(outcome, reason, part.samples, now)
        if self._quarantine is not None and isinstance(part, Block):
            self._quarantine.keep(part, outcome.code, outcome.reason, now)

    def _in_form(self, parcel: Parcel[Item], now: float) -> Item | None:
        """The first part as it is to be sent; None where it turns out to be none of ours, and was dropped."""
        part = parcel.parts[0]
        if not isinstance(part, Block) or parcel.fallen:
            return part
        try:
            parcel.parts[0] = recoded(part, self._forms.wanted(part, now))
        except ValueError as error:
            self._drop(parcel, part, Rejected("form", f"it cannot be put into another form: {error}"), "corrupt", now)
            return None
        return parcel.parts[0]

    def _made_simpler(self, parcel: Parcel[Item], part: Item, outcome: Unsupported) -> bool:
        """Put the first part into the next simpler form, or drop it where it cannot be read; False when there is none."""
        form = self._forms.simpler(part) if isinstance(part, Block) else None
        if form is None or not isinstance(part, Block):
            return False
        try:
            parcel.parts[0] = recoded(part, form)
        except ValueError as error:
            # Nobody looked into it before: it was made in the form that is sent, and waited on a disk.
            refused = Rejected(outcome.code, f"{outcome.reason}; and it cannot be put into another form: {error}")
            self._drop(parcel, part, refused, "corrupt", self._clock())
            return True
        parcel.fallen = True
        return True

    async def _is_poison(self, parcel: Parcel[Item], outcome: Retry) -> bool:
        """Whether a server error is the block's own fault: it goes on, while single samples of the block are accepted."""
        if self._policy.strict_spec:
            return False
        if parcel.proof is not None and outcome.code[0] == "5":
            # Being taken apart already: is the receiver still there for what it took before? Asked at a part's second
            # error only: a receiver that comes and goes must not cost what is good.
            if parcel.doubted is not parcel.parts[0]:
                parcel.doubted = parcel.parts[0]
                return False
            return isinstance((await self._send(parcel.proof))[0], Accepted)
        now = self._clock()
        if not parcel.is_suspect(outcome, now, lately=0 <= now - self._poisoned_at < POISON_MEMORY_SECONDS):
            return False
        if not parcel.parts[0].samples:
            return True  # it only says what families are: giving it up costs no sample, waiting for it holds up all others
        for probe in parcel.probes(self._clock()):
            if isinstance((await self._send(probe))[0], Accepted):
                parcel.proof, self._poisoned_at = probe, now
                return True
        return False

    def _too_old(self, part: Item, now: float) -> str | None:
        if self._leaps.doubts(now, anyio.current_time(), MOST_LEAP_SECONDS):
            return None  # by a clock that leapt ahead everything is old, and may not be in a moment
        limits = self._policy
        if 0 < limits.max_sample_age_seconds < now - part.timestamp_ms / 1000:
            return "too_old"
        if 0 < limits.max_retry_age_seconds < now - part.created:
            return "retry_age"
        return None

    async def _send(self, part: Item) -> tuple[Outcome, Exception | None]:
        """One send within the time limit; what the sink raises is a bug of a plugin, contained here."""
        await self._rate.pay(size_of(part))
        limit, bug = self._policy.timeout_seconds, None
        outcome: Outcome = Retry("timeout", f"no answer within {limit:g} s")
        started = anyio.current_time()
        with anyio.move_on_after(limit):
            try:
                outcome = await self._sink.send(part)
            except Exception as error:
                outcome, bug = Retry("bug", f"the sink raised {type(error).__name__}: {error}"), error
        self._report.answered(outcome, anyio.current_time() - started)
        return outcome, bug

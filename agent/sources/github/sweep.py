"""Re-runs of older runs: they change a run far down the list, where nobody looks, so now and then somebody has to.

GitHub lets a run be re-run for thirty days (https://docs.github.com/en/actions/how-tos/manage-workflow-runs, "Re-running
workflows and jobs"). Where more than the newest hundred are that young, the others are looked through once an hour, at
no charge as long as they are the same: all at once where something happens, else a page at every other poll, in place
of the newest hundred, so that a poll of an idle repository is never more than one request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.sources.github.news import News
from agent.sources.github.places import MAX_OPEN, Place
from agent.sources.github.windows import Lists, Newest, Span, spans_between

RERUN_SECONDS = 30 * 86400.0
SWEEP_SECONDS = 3600.0
SPAN_SECONDS = 6 * 86400
"""Runs are asked for by the days in which they were created; the same days each time, for the same answers."""
OVERLAP_SECONDS = 600.0
"""A run may appear in GitHub's list so long after it began."""


@dataclass
class _Sweep:
    """One that is under way."""

    began: float
    """Seconds since the epoch."""
    oldest: float
    """What was created since then is on the page of the newest."""
    left: Sequence[Span | str]
    is_turn: bool = True
    """Whether the next poll is for it."""


class Sweeps:
    """Those of all repositories, by number."""

    def __init__(self) -> None:
        self._under_way: dict[int, _Sweep] = {}

    def forget(self) -> None:
        """What was found is not committed: begin them anew."""
        self._under_way.clear()

    def is_turn(self, number: int) -> bool:
        """Whether this poll of an idle repository is for its older runs, instead of the newest."""
        sweep = self._under_way.get(number)
        if sweep is None:
            return False
        sweep.is_turn = not sweep.is_turn
        return not sweep.is_turn

    async def go_on(self, number: int, lists: Lists, place: Place, news: News, newest: Newest | None, now: float) -> int:
        """Look through older runs where it is time to. `newest`: what this poll has seen of the others, None = nothing.

        Returns how many seconds had more runs than GitHub lists. Raises CollectError; nothing has changed then.
        """
        sweep = self._under_way.get(number)
        if sweep is None:
            if newest is None or newest.oldest <= now - RERUN_SECONDS or now - place.swept < SWEEP_SECONDS:
                return 0
            spans = spans_between(now - RERUN_SECONDS, newest.oldest, SPAN_SECONDS)
            sweep = _Sweep(now, newest.oldest, spans)
        if newest is not None and newest.runs is None and not place.open:
            self._under_way[number] = sweep
            return 0
        requests = 1 if newest is None else float("inf")
        walked = await lists.walk(sweep.left, lambda run: news.is_rerun(run, place.swept), most=MAX_OPEN, requests=requests)
        news.take(walked.runs, place.swept, sweep.oldest)
        if walked.left:
            self._under_way[number] = _Sweep(sweep.began, sweep.oldest, walked.left, sweep.is_turn)
        else:
            self._under_way.pop(number, None)
            place.swept = max(place.swept, sweep.began - OVERLAP_SECONDS)
        return walked.cut

"""The log of deliveries: a debug line for each; a warning when a kind of refusal begins, a line when it has ended.

Who is refused writes what he wants as often as he wants, so a refusal has ended only once none came for a while.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import NamedTuple

from agent.web.incoming import Answer, Incoming

log = logging.getLogger(__name__)

QUIET_SECONDS = 300.0
"""Without a refusal of a kind for so long, and with an accepted delivery then, the kind has ended."""
MAX_KINDS = 100
"""Kinds of bugs that are told apart; of those beyond nothing is logged."""
MAX_QUOTED = 200
"""Characters of a path that a line quotes; control characters in it are escaped."""
MAX_REASON = 500


class _Refusing(NamedTuple):
    since: float
    last: float
    times: int


class Journal:
    """`clock` gives seconds that only grow."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._refusing: dict[tuple[str, int], _Refusing] = {}
        self._bugs: set[tuple[str, str, int]] = set()

    def accepted(self, source: str) -> None:
        """A delivery was accepted: what was refused before may be over."""
        if not self._refusing:
            return
        now = self._clock()
        for kind in [kind for kind in self._refusing if kind[0] == source]:
            found = self._refusing[kind]
            if now - found.last >= QUIET_SECONDS:
                del self._refusing[kind]
                log.info(
                    "webhook %s: no more %d since %.0f s (%d in the %.0f s before)",
                    source,
                    kind[1],
                    now - found.last,
                    found.times,
                    found.last - found.since,
                )

    def refused(self, request: Incoming, answer: Answer) -> None:
        """A delivery was refused; a line says so where it is the first of that kind to that source."""
        source, status, now = request.source, answer.status, self._clock()
        found = self._refusing.get((source, status))
        if found is None:
            # one to no source is named by its path
            name, text = source or repr(request.path[:MAX_QUOTED]), answer.text[:MAX_REASON]
            more = "more of that kind are only counted"
            log.warning("webhook %s: answered %d to %s: %s; %s", name, status, request.client, text, more)
            self._refusing[source, status] = _Refusing(now, now, 1)
        else:
            self._refusing[source, status] = _Refusing(found.since, now, found.times + 1)

    def failed(self, source: str, error: Exception) -> None:
        """A source failed at a delivery as no source should; each kind is logged once, with where it happened."""
        frames = traceback.extract_tb(error.__traceback__)
        kind = (source, type(error).__name__, (frames[-1].lineno or 0) if frames else 0)
        if kind not in self._bugs and len(self._bugs) < MAX_KINDS:
            self._bugs.add(kind)
            log.error("webhook %s: a bug; the delivery was answered 503", source, exc_info=error)

    def answered(self, request: Incoming, status: int) -> None:
        """The access log: one line for each request. Status 0 = the client had gone."""
        if log.isEnabledFor(logging.DEBUG):
            path, client, seconds = request.path[:MAX_QUOTED], request.client, self._clock() - request.begun
            log.debug("%s %r from %s: %d, %d bytes in %.4f s", request.method, path, client, status, request.held, seconds)

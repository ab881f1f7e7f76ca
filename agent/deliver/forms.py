"""Which form a sink is sent: the best one that its receiver understands."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from agent.model import Block, Form, Protocol

log = logging.getLogger(__name__)

PROBE_SECONDS = 86_400.0
"""A better form that was not understood is tried again this often: receivers are upgraded."""


_ALIKE = (Protocol.REMOTE_WRITE, Protocol.REMOTE_WRITE_2)
"""Protocols that blocks can be put into from each other."""


class Forms:
    """Remembers how far down the list of a sink's forms its receiver makes us go.

    `forms`: the best first; () = whatever a block is made in. `on_change` is told the form that new blocks should have.
    """

    def __init__(self, where: str, forms: Sequence[Form], on_change: Callable[[Form], None] | None) -> None:
        self._where = where
        self._forms = tuple(forms)
        self._on_change = on_change
        self._at = 0
        self._asked = 0.0
        """When the best form was last tried."""

    @property
    def current(self) -> Form | None:
        """What is sent now; None = blocks as they are."""
        return self._forms[self._at] if self._forms else None

    @property
    def fallen_back(self) -> bool:
        """Whether it is not the best one."""
        return self._at > 0

    def wanted(self, block: Block, now: float) -> Form:
        """The form to send a block in: the current one, once a day the best.

        Also for a block that waited since the sink was configured otherwise: every remote-write form can be any other.
        """
        own = Form(block.protocol, block.encoding)
        if not self._forms or own.protocol not in _ALIKE or self._forms[0].protocol not in _ALIKE:
            return own
        if self._at and now - self._asked >= PROBE_SECONDS:
            self._asked = now
            return self._forms[0]
        return self._forms[self._at]

    def simpler(self, block: Block) -> Form | None:
        """The next form below the one a block has; None when there is none."""
        own = Form(block.protocol, block.encoding)
        below = self._forms.index(own) + 1 if own in self._forms else len(self._forms)
        return self._forms[below] if below < len(self._forms) else None

    def accepted(self, block: Block, now: float) -> None:
        """The receiver took a block in the form it has: that is what it is sent from now on."""
        form = Form(block.protocol, block.encoding)
        if form not in self._forms or form == self._forms[self._at]:
            return
        better = self._forms.index(form) < self._at
        self._at, self._asked = self._forms.index(form), now
        self._log(form, better)
        if self._on_change is not None:
            self._on_change(form)

    def _log(self, form: Form, better: bool) -> None:
        """What is sent from now on; a warning only where something is lost by it."""
        best = self._forms[0]
        if better:
            log.info("%s takes more than before: sending %s, %s", self._where, form.protocol.value, form.encoding.value)
        elif form.protocol is best.protocol:
            log.info("%s takes no %s: sending %s, asking again daily", self._where, best.encoding.value, form.encoding.value)
        else:
            words = "%s takes no remote-write 2.0: sending 1.0, without start times and native histograms, asking again daily"
            log.warning(words, self._where)

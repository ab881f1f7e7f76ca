"""Every error cipush raises on purpose.

CipushError
├── ConfigError        the configuration is wrong; `cipush` exits 78 and prints every problem
├── StartError         something outside refused at start (a port in use); exit 1
├── TemporaryError     try again later (a lock held, a sink that did not accept); exit 75
│   └── LedgerError    the ledger could not take a commit; nothing of it counts
│       └── FencedError    another agent holds the ledger
├── CollectError       a source could not collect; contained by the core, counted by `kind`
└── DeliveryError      a webhook delivery is refused; `status` is the answer
"""

from __future__ import annotations

from collections.abc import Sequence


class CipushError(Exception):
    """The root; its text is written for the person who has to act on it."""


class ConfigError(CipushError):
    """The configuration is wrong. `problems` holds one line each: where, what, and what to do."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class StartError(CipushError):
    """Something the agent needs from the machine could not be had at start."""


class TemporaryError(CipushError):
    """It may work later without anything being changed."""


class LedgerError(TemporaryError):
    """The ledger does not take what it is given; nothing of it counts, and it may be given again."""


class FencedError(LedgerError):
    """Somebody else writes to the ledger now; this agent must not."""


class CollectError(CipushError):
    """A source could not collect. `kind` is one stable word for the `kind` label of the error counter.

    `retry_seconds`: after so long it is worth trying again, if that is sooner than the next turn; 0 = it is not.
    """

    def __init__(self, kind: str, message: str, *, retry_seconds: float = 0.0) -> None:
        self.kind = kind
        self.retry_seconds = retry_seconds
        super().__init__(message)


class DeliveryError(CipushError):
    """A delivery that is refused. `status` is the HTTP status it is answered with, the text its body."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)

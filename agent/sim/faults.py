"""Scripted trouble: what the embedded receiver does wrong, request by request.

A test (or somebody trying out a sender) writes the script; every pushed request takes the next step,
and when the script is used up the receiver behaves again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer with this and store nothing."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    times: int = 1


@dataclass(frozen=True, slots=True)
class Delay:
    """Wait, then handle the request as usual."""

    seconds: float
    times: int = 1


@dataclass(frozen=True, slots=True)
class Close:
    """Begin an answer of this status and close the connection in the middle of it; store nothing."""

    status: int = 503
    """With a 2xx, a sender that never reads the answer's body takes the samples for accepted."""
    times: int = 1


@dataclass(frozen=True, slots=True)
class Lose:
    """Store the samples, then close the connection in the middle of an answer of this status."""

    status: int = 503
    times: int = 1


Fault = Answer | Delay | Close | Lose


class Faults:
    """What is left of a script; each step is used up `times` times."""

    def __init__(self, script: Iterable[Fault] = ()) -> None:
        self._steps: deque[Fault] = deque()
        self.extend(script)

    def extend(self, script: Iterable[Fault]) -> None:
        """Put more steps behind what is left."""
        for fault in script:
            self._steps.extend([fault] * fault.times)

    def take(self) -> Fault | None:
        """The step for the next request; None = behave."""
        return self._steps.popleft() if self._steps else None

    def __len__(self) -> int:
        return len(self._steps)

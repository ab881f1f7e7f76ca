"""Versions of GitLab that can be simulated, for what differs between them."""

from __future__ import annotations

from typing import NamedTuple


class Profile(NamedTuple):
    """One version and edition."""

    major: int
    minor: int
    is_enterprise: bool
    revision: str = "5f1c3b7a9e2"

    @property
    def version(self) -> str:
        """As `/version` has it."""
        return f"{self.major}.{self.minor}.2" + ("-ee" if self.is_enterprise else "")

    def at_least(self, major: int, minor: int = 0) -> bool:
        """Whether it is that version or a newer one."""
        return (self.major, self.minor) >= (major, minor)

    def says(self, status: str) -> str:
        """What it calls a status: `canceling` came with 17.0."""
        return "running" if status == "canceling" and self.major < 17 else status


CE_16_3 = Profile(16, 3, False)
EE_17 = Profile(17, 5, True)
EE_18 = Profile(18, 4, True)
PROFILES = {"16.3-ce": CE_16_3, "17-ee": EE_17, "18-ee": EE_18}

"""The committer: what happened goes into the ledger first, and from there into the store and the outbox."""

from agent.commit.committer import FAMILIES, Committer
from agent.commit.outbox import Outbox

__all__ = ["FAMILIES", "Committer", "Outbox"]

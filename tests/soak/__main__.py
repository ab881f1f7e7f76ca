"""`python -m tests.soak`: the long versions of the proofs, for an evening; ends with 1 when one of them fails."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests import servers
from tests.killed import kill_many
from tests.real_outage import outage
from tests.soak.faults import soak
from tests.soak.github import week_behind_nat, week_of_webhooks
from tests.soak.gitlab import kills_of_gitlab, week_of_gitlab

AGENTS = 5
Proof = Callable[[Path], tuple[str, list[str]]]
"""Runs below a folder; a summary, and what is wrong."""


def long_outage(seconds: int) -> Proof:
    """The receiver is away for so long."""

    def prove(folder: Path) -> tuple[str, list[str]]:
        found = outage(folder, 10_000, seconds)
        return str(found), [f"scrapes that are not whole: {sorted(found.lost)}"] if found.lost else []

    return prove


def many_kills(kills: int, seed: int) -> Proof:
    """The agent is killed so many times."""

    def prove(folder: Path) -> tuple[str, list[str]]:
        with servers.victoria_metrics(folder) as receiver:
            found = kill_many(folder, receiver, agents=AGENTS, lives=kills // AGENTS, seed=seed)
        return str(found), [f"{agent}: promised and missing: {lost}" for agent, lost in found.missing.items()]

    return prove


def random_faults(minutes: float, seed: int) -> Proof:
    """Every receiver has every trouble for so long."""

    def prove(folder: Path) -> tuple[str, list[str]]:
        found = soak(folder, minutes * 60, seed)
        return str(found), found.problems

    return prove


def run(name: str, proof: Proof) -> bool:
    """One proof, told on standard output; whether it holds. What it wrote is kept where it does not."""
    folder, began = Path(tempfile.mkdtemp(prefix=f"cipush-soak-{name}-")), time.monotonic()
    print(f"{name}: running below {folder}", flush=True)
    try:
        summary, problems = proof(folder)
    except (AssertionError, pytest.fail.Exception) as error:
        summary, problems = "broken off", [str(error)]
    print(f"{name}: {'FAILED' if problems else 'ok'} after {time.monotonic() - began:.0f} s: {summary}", flush=True)
    for problem in problems:
        print(f"  {problem}", flush=True)
    if not problems:
        shutil.rmtree(folder, ignore_errors=True)
    return not problems


def main() -> int:
    """Read the arguments, run every proof, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--outage-seconds", type=int, default=600, help="length of the outage; 0 = none")
    parser.add_argument("--kills", type=int, default=500, help="times an agent is killed; 0 = none")
    parser.add_argument("--minutes", type=float, default=15.0, help="of random faults; 0 = none")
    parser.add_argument(
        "--github-kills", type=int, default=30, help="times an agent is killed in a week of webhooks; -1 = no week"
    )
    parser.add_argument("--gitlab-projects", type=int, default=1000, help="of which a week is observed; 0 = none")
    parser.add_argument("--gitlab-kills", type=int, default=20, help="times an agent that reads GitLab is killed; 0 = none")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of everything random")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    proofs: dict[str, Proof | None] = {
        "outage": long_outage(given.outage_seconds) if given.outage_seconds else None,
        "kills": many_kills(given.kills, given.seed) if given.kills else None,
        "faults": random_faults(given.minutes, given.seed) if given.minutes else None,
    }
    if given.github_kills >= 0:
        proofs["github-webhooks"] = partial(week_of_webhooks, kills=given.github_kills, seed=given.seed)
        proofs["github-api"] = partial(week_behind_nat, way="api", seed=given.seed)
        proofs["github-deliveries"] = partial(week_behind_nat, way="deliveries", seed=given.seed)
    if given.gitlab_projects:
        proofs["gitlab-polls"] = partial(week_of_gitlab, way="polls", projects=given.gitlab_projects, seed=given.seed)
        proofs["gitlab-webhooks"] = partial(week_of_gitlab, way="webhooks", projects=given.gitlab_projects, seed=given.seed)
    if given.gitlab_kills:
        proofs["gitlab-kills"] = partial(kills_of_gitlab, kills=given.gitlab_kills, seed=given.seed)
    held = [run(name, proof) for name, proof in proofs.items() if proof is not None]
    print(f"soak: {sum(held)} of {len(held)} hold", flush=True)
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())

"""What invented projects are furnished with: pipelines' jobs, names, people and the reasons why jobs fail."""

from __future__ import annotations

from typing import NamedTuple

from agent.sim.gitlab.objects import BRIDGE, GROUP, PROJECT, Artifact, JobSpec, TestCase, TestSuite

CHILD, OTHER = "child", "other"
"""Where a bridge's downstream pipeline runs: in the same project or in another."""


class Entry(NamedTuple):
    """One entry of .gitlab-ci.yml."""

    spec: JobSpec
    seconds: int
    """How long it usually takes."""
    downstream: str = ""
    """What a bridge triggers: the name of a recipe."""
    where: str = CHILD
    depends: bool = False
    """Whether a bridge mirrors what it triggered: `strategy: depend`."""


Recipe = tuple[tuple[Entry, ...], ...]
"""The entries of a pipeline, stage by stage."""


def _files(size: int, junit: int = 0) -> tuple[Artifact, ...]:
    files = (Artifact("archive", size, "artifacts.zip"), Artifact("trace", 9_412, "job.log"))
    return (*files, Artifact("junit", junit, "junit.xml.gz")) if junit else files


_TRACE = (Artifact("trace", 7_131, "job.log"),)
_LINT = Entry(JobSpec("lint", "check", allow_failure=True, artifacts=_TRACE), 40)
_SECRETS = Entry(JobSpec("secret scan", "check", artifacts=_TRACE), 25)
_BUILD = Entry(JobSpec("build", "build", artifacts=_files(1_804_223), tags=("docker",)), 180)
_UNITS = tuple(
    Entry(JobSpec(f"unit {part}/3", "test", artifacts=_files(20_480, 4_096), is_tested=True), 210) for part in (1, 2, 3)
)
_MATRIX = tuple(
    Entry(JobSpec(f"e2e: [{browser}, {size}]", "test", runner_type=GROUP, artifacts=_TRACE, tags=("kvm",)), 300)
    for browser in ("firefox", "chromium")
    for size in ("small", "large")
)
_FLAKY = Entry(JobSpec("fuzz", "test", allow_failure=True, runner_type=PROJECT, artifacts=_TRACE), 120)
_IMAGE = Entry(JobSpec("image", "package", artifacts=_files(52_428)), 150)
_STAGING = Entry(JobSpec("deploy staging", "deploy", environment="staging", artifacts=_TRACE), 60)
_PRODUCTION = Entry(
    JobSpec("deploy production", "deploy", when="manual", allow_failure=True, environment="production", artifacts=_TRACE), 90
)
_GATE = Entry(JobSpec("approve", "gate", when="manual", artifacts=_TRACE), 5)
_ROLLOUT = Entry(JobSpec("rollout", "deploy", environment="production", artifacts=_TRACE), 120)
_LATER = Entry(JobSpec("rollout 50%", "deploy", when="delayed", environment="canary", artifacts=_TRACE), 45)
_CLEAN = Entry(JobSpec("clean up", "cleanup", when="always", runner_type=GROUP, artifacts=_TRACE), 15)


def _bridge(name: str, stage: str, downstream: str, *, where: str = CHILD, depends: bool = False) -> Entry:
    return Entry(JobSpec(name, stage, kind=BRIDGE), 0, downstream, where, depends)


RECIPES: dict[str, Recipe] = {
    "plain": ((_LINT, _SECRETS), (_BUILD,), (*_UNITS, _FLAKY)),
    "browser": ((_BUILD,), (*_UNITS, *_MATRIX), (_STAGING, _PRODUCTION), (_CLEAN,)),
    "gated": ((_BUILD,), (_UNITS[0],), (_GATE,), (_ROLLOUT,)),
    "gradual": ((_BUILD,), (_IMAGE,), (_LATER,)),
    "parent": (
        (_LINT,),
        (_bridge("services", "trigger", "services", depends=True), _bridge("docs", "trigger", "docs"), _BUILD),
        (_STAGING,),
    ),
    "services": ((_BUILD,), (_UNITS[1], _bridge("images: [arm64]", "test", "images", depends=True))),
    "images": ((_IMAGE, Entry(JobSpec("sign", "package", runner_type=PROJECT, artifacts=_TRACE), 20)),),
    "docs": ((Entry(JobSpec("pages", "deploy", artifacts=_files(310_000)), 35),),),
    "upstream": ((_BUILD,), (_bridge("integration", "downstream", "integration", where=OTHER, depends=True),)),
    "announcing": ((_IMAGE,), (_bridge("notify", "downstream", "docs", where=OTHER),)),
    "integration": ((*_UNITS[:2], _MATRIX[0]),),
    "optional": ((_PRODUCTION,),),
    "nightly": ((Entry(JobSpec("soak", "test", runner_type=PROJECT, artifacts=_TRACE), 2_400), _FLAKY), (_CLEAN,)),
}
"""By name. `optional` holds nothing but manual jobs, so that its pipelines are skipped."""
FORMS: tuple[tuple[str, ...], ...] = (
    ("plain", "plain", "nightly"),
    ("browser", "plain", "gated"),
    ("parent", "gradual"),
    ("upstream", "announcing", "plain"),
    ("gated", "gradual", "optional"),
)
"""What pipelines a project has: its first for pushes and merge requests, the others now and then."""

FAILURE_REASONS = (
    *("script_failure",) * 12,
    "runner_system_failure",
    "job_execution_timeout",
    "api_failure",
    "unknown_failure",
    "data_integrity_failure",
    "archived_failure",
    "scheduler_failure",
    "unmet_prerequisites",
    "forward_deployment_failure",
    "ci_quota_exceeded",
)
"""Words for why a job failed, as often as they stand here: https://docs.gitlab.com/api/jobs/ and Enums::Ci::CommitStatus."""
UNSTARTED_REASONS = ("stuck_or_timeout_failure", "missing_dependency_failure", "runner_unsupported", "no_matching_runner")
"""For one that no runner ever took."""

SOURCES = (*("push",) * 8, "web", "api", "trigger", "chat", "webide", "external", "ondemand_dast_scan", "not_invented_yet")
"""What starts the pipelines of branches, as often as they stand here."""

GROUPS = ("harbour", "harbour/cranes", "harbour/cranes/hooks", "orchard", "orchard/press", "lantern")
PEOPLE = ("ines.q", "jun-ho", "katya_m", "lars42", "mwangi", "noor", "oskar-l", "project_17_bot_5ab1")
NAMES = ("anchor", "bobbin", "cider", "derrick", "ember", "fender", "graft", "hawser", "inlet", "jetty", "keel", "ledger")
KINDS = ("api", "web", "worker", "charts", "tools", "docs", "agent", "sdk")
TOPICS = ("login", "cache", "flaky-clock", "retry", "typing", "parser", "umläute", "very/deep/topic")


_GIVEN = frozenset({"web", "api", "trigger", "pipeline", "parent_pipeline", "merge_request_event", "chat"})
"""Sources of pipelines that may be given variables here."""
_REGIONS = ("north", "south", "", "über-see")


def variables(source: str, number: int) -> tuple[tuple[str, str], ...]:
    """What a pipeline of that number was given, the same for the same arguments: one in three nothing; else a secret too."""
    if source not in _GIVEN or number % 3 == 0:
        return ()
    given = [("DEPLOY_TOKEN", f"s3cr3t-{number}"), ("REGION", _REGIONS[number // 3 % len(_REGIONS)])]
    if number % 5 == 0:
        given.append(("release_notes", "all that is new\n" * 20))
    return tuple(given) if number % 2 else tuple(reversed(given))


def project_name(number: int) -> str:
    """An invented name, another for every number."""
    first, second = divmod(number, len(KINDS))
    again, first = divmod(first, len(NAMES))
    return f"{NAMES[first]}-{KINDS[second]}" + (f"-{again + 1}" if again else "")


def suite(name: str, variant: int) -> TestSuite:
    """A test report, the same for the same arguments; every fourth has failures."""
    cases = [
        TestCase(f"test_{part}_{variant % 4}", f"{name}.{part}", "success", 0.125 * (1 + variant % 7)) for part in TOPICS[:6]
    ]
    cases.append(TestCase("test_on_other_hosts", f"{name}.hosts", "skipped", 0.0))
    if variant % 4 == 3:
        cases.append(TestCase("test_leap_second", f"{name}.clock", "failed", 2.5))
        cases.append(TestCase("test_import", f"{name}.setup", "error", 0.0))
    return TestSuite(name, tuple(cases))

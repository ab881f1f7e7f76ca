"""What invented organisations are furnished with: runners, workflow files, names of repositories, branches and people."""

from __future__ import annotations

from agent.sim.github.plan import Pool, Template

UBUNTU = Pool("ubuntu", "github-hosted", ("ubuntu-latest",), 2, "GitHub Actions", "GitHub Actions {}", "linux", 500, "linux")
NOBLE = Pool("noble", "github-hosted", ("ubuntu-24.04",), 2, "GitHub Actions", "GitHub Actions {}", "linux", 500, "linux")
SLIM = Pool("slim", "github-hosted", ("ubuntu-slim",), 2, "GitHub Actions", "GitHub Actions {}", "linux", 500, "linux_slim")
WINDOWS = Pool("windows", "github-hosted", ("windows-2025",), 2, "GitHub Actions", "GitHub Actions {}", "windows", 90, "windows")
MACOS = Pool("macos", "github-hosted", ("macos-15",), 2, "GitHub Actions", "GitHub Actions {}", "macos", 60, "macos")
XLARGE = Pool(
    "xlarge", "larger", ("macos-15-xlarge",), 4, "Default Larger Runners", "macos-15-xlarge_{:04x}", "macos", 20, "macos_xl"
)
FARM = Pool("farm", "self-hosted", ("self-hosted", "linux", "x64"), 1, "Default", "rack-{:02}", "linux", 24)
MACS = Pool("macs", "self-hosted", ("self-hosted", "macOS", "ARM64"), 5, "mac-shelf", "mac-mini-{:02}", "macos", 8)
SCALE_SET = Pool("scale-set", "unknown", ("pods-linux",), 6, "kubernetes", "pods-linux-runner-{:05}", "linux", 200)
BIG = Pool("big", "unknown", ("big-16",), 7, "Heavy builds", "big-16_{:04x}", "linux", 30)
GPUS = Pool("gpus", "unknown", (), 8, "gpus", "gpu-box-{}", "linux", 4)

POOLS = (UBUNTU, NOBLE, SLIM, WINDOWS, MACOS, XLARGE, FARM, MACS, SCALE_SET, BIG, GPUS)

_LINT = Template("lint", SLIM, 35)
_UNIT = tuple(Template(f"test ({system}, {version})", pool, 240) for system, version, pool in (
    ("ubuntu-latest", "3.11", UBUNTU), ("ubuntu-latest", "3.12", UBUNTU), ("windows-2025", "3.12", WINDOWS),
))  # fmt: skip
_PACKAGE = Template("package", NOBLE, 90, needs=True)
_PREVIEW = Template("preview", UBUNTU, 60, needs=True, optional=True)

WORKFLOWS: tuple[tuple[str, str, tuple[str, ...], tuple[Template, ...]], ...] = (
    ("CI", "ci.yml", ("push", "push", "pull_request", "pull_request", "pull_request", "merge_group"),
     (_LINT, *_UNIT, _PACKAGE, _PREVIEW)),
    ("Checks / style", "checks.yaml", ("push", "pull_request", "pull_request_target"),
     (Template("style", SLIM, 20), Template("shared / scan", UBUNTU, 70))),
    ("Build & test", "build-and-test.yml", ("push", "pull_request", "workflow_dispatch"),
     (Template("build (linux)", FARM, 420), Template("build (macos, arm64)", MACS, 600),
      Template("integration / run / smoke (1)", SCALE_SET, 300, needs=True),
      Template("integration / run / smoke (2)", SCALE_SET, 300, needs=True))),
    ("Nightly", "nightly.yml", ("schedule", "schedule", "schedule", "workflow_dispatch"),
     (Template("soak", BIG, 3600), Template("benchmarks", GPUS, 1500), Template("report", SLIM, 30, needs=True, optional=True))),
    ("Mobile \u2013 \u00fcbersetzt", "mobile.yml", ("push", "pull_request", "workflow_dispatch"),
     (Template("ios", XLARGE, 900), Template("macos", MACOS, 500), Template("upload", SLIM, 45, needs=True))),
    ("Deploy", "deploy.yml", ("push", "workflow_dispatch"),
     (Template("plan", UBUNTU, 50), Template("apply / production", FARM, 180, needs=True, environment="production"))),
    ("Release", "release.yml", ("release", "tag"),
     (Template("publish", NOBLE, 150), Template("images (amd64)", UBUNTU, 400), Template("images (arm64)", FARM, 500))),
)  # fmt: skip
"""(name, file, events, jobs); the event `tag` is the push of one."""

ADJECTIVES = (
    "amber",
    "brisk",
    "calm",
    "dusty",
    "eager",
    "fabled",
    "gentle",
    "hollow",
    "ionic",
    "jolly",
    "keen",
    "lunar",
    "mossy",
)
NOUNS = ("anvil", "beacon", "crane", "dynamo", "engine", "ferry", "gantry", "hopper", "ingot", "jib", "kiln", "loom", "mill")
PEOPLE = ("ada-k", "bo-tan", "cleo7", "dmitri-v", "eun-ji", "farah", "gus-w", "hana-m", "renovate[bot]")
TOPICS = ("login", "cache-keys", "flaky-clock", "retry", "typing", "new-parser", "umlauts-\u00e4\u00f6")
CHECKS = ("coverage/patch", "style report", "licence check")


def repository_name(number: int) -> str:
    """An invented name, another for every number."""
    first, second = divmod(number % (len(ADJECTIVES) * len(NOUNS)), len(NOUNS))
    again = number // (len(ADJECTIVES) * len(NOUNS))
    return f"{ADJECTIVES[first]}-{NOUNS[second]}" + (f"-{again + 1}" if again else "")

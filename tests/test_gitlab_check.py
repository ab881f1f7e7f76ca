"""`cipush check` of a GitLab source that is configured wrong: one clear message for each mistake, and the rest goes on."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from agent.sim.gitlab.flat import TOKEN
from agent.sim.gitlab.world import EXPIRED, USER_ONLY
from tests import servers
from tests.agents import clean_env
from tests.cli import cipush
from tests.listening import Hello, serving
from tests.test_web_tls import self_signed

WILDCARD = "wildcards: [{owner: {name: harbour}}]"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a simulated GitLab in which an hour of work lies behind."""
    folder, start = tmp_path_factory.mktemp("gitlab"), int(time.time()) - 7200
    words = f"--projects 6 --pipelines 12 --seconds 1800 --start {start} --now {start + 7200}".split()
    with servers.running([sys.executable, "-m", "agent.sim.gitlab", *words], folder / "log", clean_env(folder)) as process:
        servers.eventually(lambda: "http://" in process.output(), "it has an address")
        yield re.findall(r"http://\S+", process.output())[0]


def configure(home: Path, address: str, *lines: str, token: str = TOKEN) -> None:
    body = [f"url: {address}", f"token: {token}", *lines]
    (home / "cipush.yml").write_text(
        "\n".join(["agent: {state_dir: none}", "sources:", "  gitlab:", *(f"    {one}" for one in body)])
    )


def checked(*flags: str) -> tuple[int, list[str], str]:
    """Exit code, what is said of the source's pollers, standard error."""
    result = cipush("check", *flags)
    return result.exit_code, [line for line in result.stdout.splitlines() if line.startswith("source gitlab")], result.stderr


def test_what_is_right_is_said_to_be(home: Path, address: str) -> None:
    configure(home, address, WILDCARD)

    code, said, wrong = checked("--online")

    assert (code, wrong) == (0, "")
    assert any(line.startswith("source gitlab, poller pipelines: ok") for line in said)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("project_defaults: {refs: {branches: {regexp: '(main'}}}", "project_defaults.refs.branches.regexp"),
        ("projects: [{name: a/b, refs: {tags: {regexp: 'v['}}}]", "projects[0].refs.tags.regexp"),
    ],
)
def test_a_pattern_that_is_none_is_named_once_by_line_and_key_without_asking_anybody(home: Path, line: str, key: str) -> None:
    configure(home, "http://127.0.0.1:1", line, WILDCARD)

    code, _, wrong = checked()

    assert code == 78
    assert wrong.splitlines()[0].startswith(f"cipush.yml:6: sources.gitlab.{key}: not a regular expression: ")
    assert len(wrong.splitlines()) == 1


def test_a_file_that_is_not_there_is_named_by_the_line_and_the_key_that_names_it(home: Path) -> None:
    configure(home, "https://127.0.0.1:1", WILDCARD, "ca_cert_path: /nowhere.pem")

    code, _, wrong = checked()

    assert code == 78
    assert wrong.startswith("cipush.yml:7: sources.gitlab.ca_cert_path: ")


def test_an_address_with_a_wrong_path_is_said_to_be_no_gitlab(home: Path, address: str) -> None:
    configure(home, f"{address}/gitlab", WILDCARD)

    code, said, _ = checked("--online")

    assert code == 75
    assert any("there is no GitLab at the address in `url`" in line for line in said), said


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (f"projects: [{{name: harbour/nowhere}}]\n    {WILDCARD}", "project harbour/nowhere: there is no such project"),
        ("wildcards: [{owner: {name: nobodys}}, {owner: {name: harbour}}]", "group nobodys: there is no such group"),
    ],
    ids=["project", "group"],
)
def test_what_cannot_be_found_is_named_and_the_rest_is_read(home: Path, address: str, line: str, named: str) -> None:
    configure(home, address, line)

    code, said, wrong = checked("--online")

    assert (code, wrong) == (75, "cipush: check --online failed for source gitlab\n")
    assert said.count(f"source gitlab, poller pipelines: FAILED: {named}, or the token may not see it; {HELP}") == 1
    assert any(line.startswith("source gitlab, poller tiers: ok") for line in said)
    assert "source gitlab: ultimate: harbour" in said


HELP = "check the full path, and who the token is for"


@pytest.mark.parametrize(
    ("token", "named"),
    [
        (USER_ONLY, "group harbour: /groups/harbour/projects: the token may not read the API (insufficient_scope); make"),
        (EXPIRED, "projects cannot be listed: /groups/harbour/projects: HTTP 401"),
        ("glpat-nobodys", "projects cannot be listed: /groups/harbour/projects: HTTP 401"),
    ],
    ids=["scope", "expired", "unknown"],
)
def test_a_token_that_does_not_do_is_said_once_with_the_reason(home: Path, address: str, token: str, named: str) -> None:
    configure(home, address, WILDCARD, "collectors: {environments: {enabled: true}}", token=token)

    code, said, wrong = checked("--online")

    assert (code, wrong) == (75, "cipush: check --online failed for source gitlab\n")
    assert [line for line in said if named in line] == [
        line for line in said if line.startswith("source gitlab, poller pipelines:")
    ]
    assert "source gitlab, poller environments: FAILED: as pipelines" in said
    assert "source gitlab, poller tiers: FAILED: as pipelines" in said
    assert token not in "".join(said)


@pytest.mark.anyio
@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command to make certificates with")
async def test_a_certificate_that_signs_itself_is_named_with_what_to_set(home: Path, tmp_path: Path) -> None:
    own = self_signed(tmp_path, "own")
    async with serving(Hello(), tls_cert_file=own.cert, tls_key_file=own.key) as there:
        configure(home, f"https://{there.address}", WILDCARD)
        code, said, _ = await anyio.to_thread.run_sync(checked, "--online")

    assert code == 75
    assert [line for line in said if "certificate" in line and "ca_file" in line], said

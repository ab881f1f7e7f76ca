"""`cipush config import`: what another exporter was told, told to cipush."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cli.verbs import main
from agent.config.imported import PLACEHOLDER, imported
from agent.errors import ConfigError
from tests.importing import keyed, loaded, made, source, told

SEED = next((Path(__file__).parents[2] / "shared" / "seeds").glob("003_*.txt"), None)

FULL = """
log:
  level: fatal
  format: json
server:
  listen_address: ":9191"
  enable_pprof: true
  webhook: {enabled: true, secret_token: hook-secret}
redis: {url: "redis://cache:6379/0", pool_size: 4, min_idle_conns: 2}
gitlab:
  url: https://git.acme.test
  token: token-of-the-test
  enable_tls_verify: false
  ca_cert_path: ""
  max_requests_per_second: 3
  burst_requests_per_second: 6
  use_graphql: false
  graphql_page_size: 50
  rest_page_size: 20
collectors:
  pipelines:
    enabled: true
    interval_seconds: 45
    include_child_pipelines: false
    histogram_buckets: [1, 2.5, 60]
    max_pipelines_per_ref: 3
  jobs: {enabled: true, interval_seconds: 50, histogram_buckets: [1, 9], include_runner_details: false}
  merge_requests: {enabled: false, interval_seconds: 300, histogram_buckets: [60, 3600]}
  environments: {enabled: true, interval_seconds: 600, exclude_stopped: false}
  test_reports: {enabled: true, interval_seconds: 90, include_test_cases: true}
  dora: {enabled: true, interval_seconds: 7200, environment_tiers: [production]}
  value_stream: {enabled: false, interval_seconds: 7200}
  code_review: {enabled: false, interval_seconds: 600}
  repository: {enabled: false, interval_seconds: 7200}
  contributors: {enabled: false, interval_seconds: 7200}
project_defaults:
  output_sparse_status_metrics: false
  refs:
    branches: {enabled: true, regexp: ^trunk$, most_recent: 5, max_age_days: 30, exclude_deleted: false}
    tags: {enabled: false, regexp: ^r, most_recent: 1, max_age_days: 7, exclude_deleted: true}
    merge_requests: {enabled: true, states: [closed], most_recent: 2, max_age_days: 3}
projects:
  - name: acme/shop
  - {name: acme/till, refs: {branches: {regexp: ^next$}}}
wildcards:
  - owner: {name: anna, kind: user, include_subgroups: false}
    search: demo
    archived: true
"""


def test_every_key_is_taken_over_with_its_value(tmp_path: Path) -> None:
    options = source(tmp_path, FULL)

    was = yaml.safe_load(FULL)
    for key in was["gitlab"].keys() - {"token"}:
        assert getattr(options, key) == was["gitlab"][key]
    assert options.token.reveal() == "token-of-the-test"
    for name, section in was["collectors"].items():
        found = getattr(options.collectors, name).model_dump()
        assert {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()} == section
    assert [project.name for project in options.projects] == ["acme/shop", "acme/till"]
    assert options.project_defaults.model_dump(mode="json") == was["project_defaults"]


def test_a_project_differs_from_the_defaults_where_it_did(tmp_path: Path) -> None:
    shop, till = source(tmp_path, FULL).projects

    assert (shop.refs.branches.regexp, till.refs.branches.regexp) == ("^trunk$", "^next$")
    assert till.refs.branches.most_recent == 5


def test_wildcards_are_taken_over(tmp_path: Path) -> None:
    (wildcard,) = source(tmp_path, FULL).wildcards

    assert wildcard.owner.model_dump() == {"name": "anna", "kind": "user", "include_subgroups": False}
    assert (wildcard.search, wildcard.archived) == ("demo", True)


def test_the_agents_own_sections_are_made(tmp_path: Path) -> None:
    config = loaded(tmp_path, made(tmp_path, FULL)).config

    assert (config.log.level, config.log.format) == ("critical", "json")
    assert config.server.listen_address == ":9191"
    assert list(config.sources) == ["gitlab", "internal"]


@pytest.mark.parametrize(("was", "now"), [("trace", "debug"), ("warn", "warning"), ("panic", "critical"), ("INFO", "info")])
def test_levels_have_their_own_words_here(tmp_path: Path, was: str, now: str) -> None:
    assert yaml.safe_load(made(tmp_path, f"log: {{level: {was}}}").text)["log"]["level"] == now


def test_what_it_does_without_being_told_is_told_here(tmp_path: Path) -> None:
    config = loaded(tmp_path, made(tmp_path, "gitlab: {url: https://git.acme.test}")).config

    assert (config.server.listen_address, config.log.format) == (":8080", "text")


def test_keys_without_a_counterpart_are_named_with_the_reason(tmp_path: Path) -> None:
    found = made(tmp_path, FULL)

    gone = [(key, text.partition("has no counterpart: ")[2]) for key, text in keyed(found) if "no counterpart" in text]
    assert [key for key, _ in gone] == ["server.enable_pprof", "redis.url", "redis.pool_size", "redis.min_idle_conns"]
    assert all(reason for _, reason in gone)
    assert not any("cache:6379" in note for note in found.notes)


def test_collectors_that_are_not_there_yet_are_named_where_they_are_on(tmp_path: Path) -> None:
    found = made(tmp_path, FULL)

    assert [key for key, text in keyed(found) if "does not collect" in text] == ["collectors.dora"]


def test_the_webhook_moves_and_says_where_to(tmp_path: Path) -> None:
    found = made(tmp_path, FULL)
    webhook: Any = loaded(tmp_path, found).config.sources["gitlab"].webhook  # type: ignore[attr-defined]

    assert (webhook.enabled, webhook.secret_token.reveal()) == (True, "hook-secret")
    assert ("server.webhook", "GitLab has to send to /webhook/gitlab") in keyed(found)


def test_a_webhook_without_a_secret_is_spoken_of(tmp_path: Path) -> None:
    notes = made(tmp_path, "server: {webhook: {enabled: true}}").notes

    assert any("secret_token: is empty" in note for note in notes)


def test_a_webhook_that_was_not_switched_on_stays_off(tmp_path: Path) -> None:
    text = "server: {webhook: {secret_token: abc}}"

    assert source(tmp_path, text + "\ngitlab: {token: t}").webhook.enabled is False


def test_a_missing_token_has_a_place_to_be_put(tmp_path: Path) -> None:
    found = made(tmp_path, "gitlab: {token: ''}\nwildcards: [{}]")

    assert loaded(tmp_path, found).config.sources["gitlab"].token.reveal() == PLACEHOLDER  # type: ignore[attr-defined]
    assert "gitlab.token" in told(found)


def test_variables_win_over_the_file(tmp_path: Path) -> None:
    options = source(
        tmp_path,
        FULL,
        AGE_GITLAB_URL="https://other.test",
        AGE_GITLAB_TOKEN="0123",
        AGE_GITLAB_USE_GRAPHQL="true",
        AGE_COLLECTORS_PIPELINES_INTERVAL_SECONDS="60",
        AGE_COLLECTORS_DORA_ENABLED="false",
        AGE_COLLECTORS_DORA_ENVIRONMENT_TIERS="production,other",
        AGE_PROJECT_DEFAULTS_REFS_BRANCHES_REGEXP="^only$",
    )

    assert (options.url, options.token.reveal(), options.use_graphql) == ("https://other.test", "0123", True)
    assert options.collectors.pipelines.interval_seconds == 60
    assert (options.collectors.dora.enabled, options.collectors.dora.environment_tiers) == (False, ["production", "other"])
    assert options.project_defaults.refs.branches.regexp == "^only$"


def test_variables_alone_are_a_configuration(tmp_path: Path) -> None:
    found = imported(None, {"AGE_LOG_LEVEL": "debug", "AGE_SERVER_LISTEN_ADDRESS": ":9090", "AGE_GITLAB_TOKEN": "t", "PATH": "/"})
    config = loaded(tmp_path, found).config

    assert (config.log.level, config.server.listen_address) == ("debug", ":9090")
    assert found.notes == ()


def test_variables_without_a_counterpart_are_named(tmp_path: Path) -> None:
    notes = made(tmp_path, "", AGE_REDIS_URL="redis://x", AGE_SERVER_ENABLE_PPROF="true", AGE_NONSENSE="1").notes

    assert [note.partition(":")[0] for note in notes] == ["AGE_NONSENSE", "AGE_REDIS_URL", "AGE_SERVER_ENABLE_PPROF"]


def test_values_of_variables_are_numbers_where_numbers_belong(tmp_path: Path) -> None:
    text = made(tmp_path, "", AGE_GITLAB_REST_PAGE_SIZE="50", AGE_GITLAB_TOKEN="50", AGE_GITLAB_USE_GRAPHQL="false").text

    gitlab = yaml.safe_load(text)["sources"]["gitlab"]
    assert (gitlab["rest_page_size"], gitlab["token"], gitlab["use_graphql"]) == (50, "50", False)


def test_unknown_keys_are_left_out_and_named(tmp_path: Path) -> None:
    text = "gitlab: {urll: x, token: t}\nprojects: [{name: a/b, colour: red}]\nextra: {a: 1}\ncollectors: {jobs: {enabld: true}}"
    found = made(tmp_path, text)

    assert told(found) == ["gitlab.urll", "projects[0].colour", "extra", "collectors.jobs.enabld"]
    assert "did you mean enabled?" in found.notes[-1]
    assert loaded(tmp_path, found)


def test_certificate_keys_that_do_nothing_are_left_out(tmp_path: Path) -> None:
    found = made(tmp_path, "gitlab: {url: 'http://git.test', token: t, enable_tls_verify: false, ca_cert_path: /etc/ca.pem}")

    assert yaml.safe_load(found.text)["sources"]["gitlab"] == {"url": "http://git.test", "token": "t"}
    assert len(found.notes) == 2


@pytest.mark.parametrize("text", ["gitlab: hello", "collectors: {jobs: 5}", "log: [1]", "gitlab:", ""])
def test_sections_that_are_none_break_nothing(tmp_path: Path, text: str) -> None:
    assert loaded(tmp_path, made(tmp_path, text))


@pytest.mark.parametrize("text", ["- a\n- b", "a: [", "log: {level: info}\nlog: {level: debug}", "a: !!python/object:x {}"])
def test_a_file_that_is_no_configuration_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"old\.yml"):
        made(tmp_path, text)


def test_the_verb_prints_the_configuration_and_tells_the_rest_on_standard_error(tmp_path: Path) -> None:
    file = tmp_path / "old.yml"
    file.write_text(FULL)
    result = CliRunner().invoke(main, ["config", "import", str(file)], env={"AGE_LOG_LEVEL": "trace"})

    assert result.exit_code == 0
    assert yaml.safe_load(result.stdout)["log"]["level"] == "debug"
    assert "redis.url: has no counterpart" in result.stderr


def test_the_verb_ends_with_78_for_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["config", "import", str(tmp_path / "none.yml")])

    assert (result.exit_code, result.stdout) == (78, "")
    assert "cannot be read" in result.stderr


NAMES = st.sampled_from(
    ["log", "level", "server", "webhook", "enabled", "gitlab", "url", "token", "collectors", "jobs", "projects"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=25)
@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_whatever_a_file_holds_becomes_a_mapping_of_known_sections(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yml"
    file.write_text(yaml.safe_dump(data))

    assert yaml.safe_load(imported(file, {}).text).keys() <= {"log", "server", "sources"}


@pytest.mark.skipif(SEED is None, reason="no shared folder")
def test_the_original_full_example_becomes_one_that_loads(tmp_path: Path) -> None:
    assert SEED is not None
    text = SEED.read_text(encoding="utf-8")
    example = re.search(r"### Full Configuration Schema\s+```yaml\n(.*?)```", text, re.DOTALL)
    assert example
    found = made(tmp_path, example[1])
    options: Any = loaded(tmp_path, found).config.sources["gitlab"]

    assert [project.name for project in options.projects] == ["group/project-a", "group/project-b"]
    assert {key for key, text in keyed(found) if "no counterpart" in text} == {
        "server.enable_pprof",
        "redis.url",
        "redis.pool_size",
        "redis.min_idle_conns",
    }
    assert not any("no such" in note for note in found.notes)


@pytest.mark.skipif(SEED is None, reason="no shared folder")
def test_the_original_variables_are_all_known() -> None:
    assert SEED is not None
    variables = dict(re.findall(r"^(AGE_\w+)=(\S+)$", SEED.read_text(encoding="utf-8"), re.MULTILINE))
    notes = imported(None, variables).notes

    assert len(variables) >= 6
    assert [note.partition(":")[0] for note in notes] == ["AGE_REDIS_URL"]

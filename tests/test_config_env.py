"""The environment and `--set`: which key a name means, which value its text means, and what is no name of ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.config import load
from agent.config.env import Names
from agent.config.model import Core, Loaded
from agent.errors import ConfigError
from agent.plugin import options_of
from agent.sinks import SINKS

VM = "sinks:\n  vm: {type: remote_write, url: 'http://file/api/v1/write'}\n"


def loaded(environ: Mapping[str, str], tmp_path: Path | None = None, text: str = VM, **more: Any) -> Loaded:
    """What `environ` makes of a file with one sink, where there is a place for a file."""
    files = []
    if tmp_path:
        files.append(tmp_path / "cipush.yml")
        files[0].write_text(text)
    return load(files, environ, **more)


def problems(environ: Mapping[str, str], tmp_path: Path | None = None, text: str = VM, **more: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(environ, tmp_path, text, **more)
    return list(caught.value.problems)


@pytest.mark.parametrize("name", ["CIPUSH_AGENT__FLUSH_INTERVAL_SECONDS", "CIPUSH_AGENT_FLUSH_INTERVAL_SECONDS"])
def test_both_forms_of_a_name_set_a_key(name: str) -> None:
    found = loaded({name: "7"})

    assert found.config.agent.flush_interval_seconds == 7
    assert found.origins["agent.flush_interval_seconds"] == name


@pytest.mark.parametrize("name", ["CIPUSH_SINKS__VM__URL", "CIPUSH_SINKS_VM_URL"])
def test_both_forms_reach_a_sink_of_a_file(name: str, tmp_path: Path) -> None:
    found = loaded({name: "http://env/api/v1/write"}, tmp_path)

    assert found.config.sinks["vm"].url == "http://env/api/v1/write"  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["CIPUSH_SINKS__VM__QUEUE__MAX_BYTES", "CIPUSH_SINKS_VM_QUEUE_MAX_BYTES"])
def test_both_forms_reach_a_section_in_a_section(name: str, tmp_path: Path) -> None:
    found = loaded({name: "2000000"}, tmp_path)

    assert found.config.sinks["vm"].queue.max_bytes == 2_000_000  # type: ignore[attr-defined]


def test_the_double_form_creates_sinks_and_sources() -> None:
    environ = {"CIPUSH_SINKS__VM__TYPE": "remote_write", "CIPUSH_SINKS__VM__URL": "http://x/api/v1/write",
               "CIPUSH_SOURCES__HOST__INTERVAL_SECONDS": "5"}  # fmt: skip
    config = loaded(environ).config

    assert config.sinks["vm"].type == "remote_write"
    assert config.sources["host"].interval_seconds == 5  # type: ignore[attr-defined]


def test_a_created_sink_may_be_named_like_its_type() -> None:
    assert loaded({"CIPUSH_SINKS__VM_IMPORT__URL": "http://x"}).config.sinks["vm_import"].type == "vm_import"


def test_the_single_form_creates_nothing() -> None:
    (found,) = problems({"CIPUSH_SINKS_NEW_URL": "http://x"})

    assert found.startswith("CIPUSH_SINKS_NEW_URL: unknown setting")


def test_the_single_form_reaches_the_default_host_source() -> None:
    assert loaded({"CIPUSH_SOURCES_HOST_INTERVAL_SECONDS": "5"}).config.sources["host"].interval_seconds == 5  # type: ignore[attr-defined]


def test_a_created_sink_without_a_type_is_told_by_its_variable() -> None:
    (found,) = problems({"CIPUSH_SINKS__FOO__URL": "http://x"})

    assert found.startswith("CIPUSH_SINKS__FOO: sinks.foo: has no type; add `type`; known here: pushgateway")


def test_the_type_of_a_variable_decides_which_keys_there_are(tmp_path: Path) -> None:
    environ = {"CIPUSH_SINKS_VM_TYPE": "pushgateway", "CIPUSH_SINKS_VM_ON_SHUTDOWN": "delete"}

    assert loaded(environ, tmp_path).config.sinks["vm"].on_shutdown.value == "delete"  # type: ignore[attr-defined]


def test_a_dash_in_a_name_is_an_underscore_in_a_variable(tmp_path: Path) -> None:
    found = loaded({"CIPUSH_SINKS__MY_VM__STRICT_SPEC": "true"}, tmp_path, VM.replace("vm:", "my-vm:"))

    assert found.config.sinks["my-vm"].strict_spec is True  # type: ignore[attr-defined]
    assert list(found.config.sinks) == ["my-vm"]


def test_a_variable_that_may_mean_two_keys_is_a_problem(tmp_path: Path) -> None:
    both = VM + "  vm_queue: {type: remote_write, url: 'http://file/api/v1/write'}\n"
    text = both.replace("url: 'http://file/api/v1/write'}\n  vm_queue", "url: 'http://a'}\n  vm-queue")
    environ = {"CIPUSH_SINKS_VM_QUEUE_URL": "http://x"}

    assert loaded(environ, tmp_path, text).config.sinks["vm-queue"].url == "http://x"  # type: ignore[attr-defined]

    (found,) = problems({"CIPUSH_SINKS_A_B_URL": "http://x"}, tmp_path, text.replace("vm-queue:", "a-b:").replace("vm:", "a_b:"))
    assert found == "CIPUSH_SINKS_A_B_URL: may mean sinks.a-b.url or sinks.a_b.url; rename one"


def test_no_two_keys_share_a_variable_in_the_single_form() -> None:
    names = Names()
    for section, field in Core.model_fields.items():
        names.section((section,), field.annotation)
    for kind in SINKS:
        names.section(("sinks", kind), options_of(SINKS, kind))

    assert [name for name in names.all() if len(names.find(name)) > 1] == []


@pytest.mark.parametrize("text", ["12345678", "1e5", "true", "@int 5", "@format {x}", "010", "null", "[1]", "a=b,c"])
def test_a_secret_stays_the_text_it_is(text: str) -> None:
    assert loaded({"CIPUSH_SERVER_AUTH_TOKEN": text}).config.server.auth_token.reveal() == text


@pytest.mark.parametrize("text", ['{"site": "berlin", "team": "ci"}', "site=berlin,team=ci", " site = berlin , team = ci "])
def test_a_mapping_is_json_or_pairs(text: str) -> None:
    assert loaded({"CIPUSH_AGENT_LABELS": text}).config.agent.labels == {"site": "berlin", "team": "ci"}


def test_one_key_of_a_mapping_can_be_set(tmp_path: Path) -> None:
    found = loaded({"CIPUSH_AGENT__LABELS__SITE": "env"}, tmp_path, "agent: {labels: {site: file, team: ci}}")

    assert found.config.agent.labels == {"site": "env", "team": "ci"}


@pytest.mark.parametrize("text", ['{"site": ', "berlin"])
def test_a_mapping_that_is_none_is_a_problem(text: str) -> None:
    (found,) = problems({"CIPUSH_AGENT_LABELS": text})

    assert found.startswith("CIPUSH_AGENT_LABELS: agent.labels: ")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("CIPUSH_AGNT_JOB", "did you mean CIPUSH_AGENT_JOB?"),
        ("CIPUSH_AGENT__JOBB", "did you mean CIPUSH_AGENT__JOB?"),
        ("CIPUSH_LOG_LEVLE", "did you mean CIPUSH_LOG_LEVEL?"),
        ("CIPUSH_XYZZY_QWERTY_PLUGH", "see `cipush config example`"),
    ],
)
def test_an_unknown_variable_is_a_problem(name: str, hint: str) -> None:
    (found,) = problems({name: "topsecret"})

    assert found.startswith(f"{name}: unknown setting; {hint}")
    assert "topsecret" not in found


def test_variables_of_others_are_none_of_our_business() -> None:
    assert loaded({"XCIPUSH_AGENT_JOB": "x", "CIPUSHX": "x", "AGENT_JOB": "x", "cipush_agent_job": "x"}) == loaded({})


@pytest.mark.parametrize(
    "name",
    [
        "CIPUSH_SERVICE_HOST", "CIPUSH_SERVICE_PORT", "CIPUSH_SERVICE_PORT_HTTP_METRICS", "CIPUSH_PORT", "CIPUSH_PORT_9817_TCP",
        "CIPUSH_PORT_9817_TCP_ADDR", "CIPUSH_PORT_9817_UDP_PROTO", "CIPUSH_AGENT_SERVICE_HOST", "CIPUSH_VM_PORT_80_TCP_PORT",
    ],
)  # fmt: skip
def test_what_kubernetes_injects_is_ignored(name: str) -> None:
    assert loaded({name: "tcp://10.0.0.1:9817"}) == loaded({})


def test_a_value_can_come_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("s3cret-token\n")

    found = loaded({"CIPUSH_SERVER__AUTH_TOKEN_FILE": str(secret)})

    assert found.config.server.auth_token.reveal() == "s3cret-token"
    assert found.origins["server.auth_token"] == "CIPUSH_SERVER__AUTH_TOKEN_FILE"
    assert found.files == (secret,)


def test_a_key_that_ends_in_file_is_that_key(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret-token\n")
    found = loaded({"CIPUSH_SINKS_VM_BEARER_TOKEN_FILE": str(tmp_path / "token")}, tmp_path)

    assert found.config.sinks["vm"].bearer_token_file == str(tmp_path / "token")  # type: ignore[attr-defined]


@pytest.mark.parametrize(("content", "reason"), [(None, "cannot be read"), (b"", "is empty"), (b"\xff", "not UTF-8"),
                                                 (b"x" * 70_000, "larger than")])  # fmt: skip
def test_a_secret_file_that_cannot_be_used_is_a_problem(tmp_path: Path, content: bytes | None, reason: str) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)

    (found,) = problems({"CIPUSH_SERVER_AUTH_TOKEN_FILE": str(tmp_path / "token")})

    assert found.startswith(f"CIPUSH_SERVER_AUTH_TOKEN_FILE: {tmp_path / 'token'} ")
    assert reason in found


@pytest.mark.parametrize("other", ["CIPUSH_AGENT__JOB", "CIPUSH_AGENT_JOB_FILE"])
def test_a_key_that_is_set_twice_is_a_problem(tmp_path: Path, other: str) -> None:
    (tmp_path / "job").write_text("b")

    (found,) = problems({"CIPUSH_AGENT_JOB": "a", other: str(tmp_path / "job")})

    assert "agent.job is set by" in found


def test_a_list_is_not_reached_into(tmp_path: Path) -> None:
    names = Names()
    names.section(("sources", "node"), options_of({"fake": "tests.fake_plugin"}, "fake"))

    assert names.find("CIPUSH_SOURCES__NODE__TARGETS__0__URL") == {}
    assert names.list_around("CIPUSH_SOURCES__NODE__TARGETS__0__URL") == "CIPUSH_SOURCES__NODE__TARGETS"


def test_a_wrong_value_is_told_with_its_variable() -> None:
    assert problems({"CIPUSH_STORE_MAX_SERIES": "many", "CIPUSH_AGENT_FLUSH_INTERVAL_SECONDS": "inf"}) == [
        "CIPUSH_AGENT_FLUSH_INTERVAL_SECONDS: agent.flush_interval_seconds: must be less than or equal to 86400 (got 'inf')",
        "CIPUSH_STORE_MAX_SERIES: store.max_series: must be a whole number (got 'many')",
    ]


def test_flags_beat_the_environment_which_beats_files(tmp_path: Path) -> None:
    text = "agent: {job: file, instance: file, state_dir: file}\n"
    environ = {"CIPUSH_AGENT_JOB": "env", "CIPUSH_AGENT_INSTANCE": "env"}

    found = loaded(environ, tmp_path, text, overrides=[("agent.job", "flag")])

    assert (found.config.agent.job, found.config.agent.instance, found.config.agent.state_dir) == ("flag", "env", "file")
    assert [found.origins[f"agent.{key}"] for key in ("job", "instance", "state_dir")] == [
        "--set agent.job",
        "CIPUSH_AGENT_INSTANCE",
        f"{tmp_path}/cipush.yml:1",
    ]


def test_set_creates_sinks_and_sets_lists_and_mappings() -> None:
    overrides = [("sinks.out.type", "stdout"), ("sinks.out.extra_labels.site", "x"), ("agent.labels", '{"a": "b"}')]

    config = load([], {}, overrides).config

    assert (config.sinks["out"].extra_labels, config.agent.labels) == ({"site": "x"}, {"a": "b"})


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("agent.jobb", "unknown key; did you mean job?"),
        ("agnt.job", "unknown section; did you mean agent?"),
        ("agent", "unknown key"),
        ("sinks.vm", "names no key of a sink; write sinks.<name>.<key>=<value>"),
        ("agent.job.x", "unknown key"),
        ("sources.host.interval_second", "unknown key; did you mean interval_seconds?"),
    ],
)
def test_set_of_a_key_that_does_not_exist_is_a_problem(key: str, expected: str) -> None:
    (found,) = problems({}, overrides=[(key, "x")])

    assert found.startswith(f"--set {key}: {expected}")


def test_listen_and_log_level_are_keys_of_the_configuration() -> None:
    found = load([], {"CIPUSH_LOG_LEVEL": "error"}, [("server.listen_address", "127.0.0.1:1")], listen=":2", log_level="TRACE")

    assert (found.config.server.listen_address, found.config.log.level) == (":2", "debug")
    assert (found.origins["server.listen_address"], found.origins["log.level"]) == ("--listen", "--log-level")

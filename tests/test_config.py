"""The configuration as a whole: defaults, problems told at once, `--push`, the state directory, what is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from agent.config import effective, find_files, load, resolve_state_dir
from agent.config.model import split_address
from agent.errors import ConfigError


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "cipush.yml"
    path.write_text(text)
    return path


def problems(tmp_path: Path, text: str) -> list[str]:
    """What is told about a file, without its directory."""
    with pytest.raises(ConfigError) as caught:
        load([file(tmp_path, text)], {})
    return [problem.replace(f"{tmp_path}/", "") for problem in caught.value.problems]


def test_without_configuration_the_host_is_watched_and_the_agent_itself() -> None:
    config = load([], {}).config

    assert {name: source.type for name, source in config.sources.items()} == {"host": "host", "internal": "internal"}
    assert dict(config.sinks) == {}
    assert config.server.listen_address == "127.0.0.1:9817"


def test_a_file_with_sinks_alone_keeps_the_host_source(tmp_path: Path) -> None:
    assert "host" in load([file(tmp_path, "sinks: {out: {type: stdout}}")], {}).config.sources


@pytest.mark.parametrize("text", ["sources: {}", "sources: {internal: {}}", "sources: {own: {type: internal}}"])
def test_configured_sources_replace_the_default_one(tmp_path: Path, text: str) -> None:
    sources = load([file(tmp_path, text)], {}).config.sources

    assert [source.type for source in sources.values()] == ["internal"]


def test_an_empty_section_has_its_defaults(tmp_path: Path) -> None:
    text = "sinks:\n  vm_import:\n    url: http://x\n    queue:\n    tls:\nsources:\n  host:\nlog:\n"

    config = load([file(tmp_path, text)], {}).config

    assert config.sinks["vm_import"].queue.max_bytes == 1 << 30  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("word", "level"), [("trace", "debug"), ("Fatal", "critical"), ("panic", "critical"), ("WARN", "warning")]
)
def test_other_words_for_levels_are_understood(word: str, level: str) -> None:
    assert load([], {}, log_level=word).config.log.level == level


def test_every_problem_is_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """\
agent:
  flush_interval_secnds: 5
  max_future_seconds: true
  labels: {job: x}
server: {listen_address: here, auth_token: 12345678}
sinks:
  vm: {type: remote_write, url: "ftp://x", receiver: grafana}
  foo: {type: remotewrite}
  BAD: {type: stdout}
  x: 3
  bare: {url: "http://x"}
sources:
  host: {interval_seconds: -1}
  node: {type: scrape, targets: [{urll: x}]}
extra: 1
"""
    assert problems(tmp_path, text) == [
        "cipush.yml:2: agent.flush_interval_secnds: unknown key; did you mean flush_interval_seconds?",
        "cipush.yml:3: agent.max_future_seconds: must be a number (got true)",
        "cipush.yml:4: agent.labels: 'job' has a key of its own; set agent.job",
        "cipush.yml:5: server.listen_address: must be host:port, such as 127.0.0.1:9817 or [::1]:9817 (got 'here')",
        "cipush.yml:5: server.auth_token: must be text (quote it)",
        "cipush.yml:7: sinks.vm.url: must begin with http:// or https:// (got 'ftp://x')",
        "cipush.yml:7: sinks.vm.receiver: must be 'generic', 'prometheus' or 'victoriametrics' (got 'grafana')",
        "cipush.yml:8: sinks.foo.type: there is no sink type 'remotewrite'; did you mean remote_write?",
        "cipush.yml:9: sinks.BAD: is not a name; use lower-case letters, digits, _ and -",
        "cipush.yml:10: sinks.x: must be a mapping (key: value lines below it)",
        "cipush.yml:11: sinks.bare: has no type; add `type`; known here: pushgateway, remote_write, stdout, vm_import",
        "cipush.yml:13: sources.host.interval_seconds: must be greater than 0 (got -1)",
        "cipush.yml:14: sources.node.targets[0].url: is missing; add it",
        "cipush.yml:14: sources.node.targets[0].urll: unknown key; did you mean url?",
        "cipush.yml:15: extra: unknown section; known here: agent, log, server, sinks, sources, store",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "server: {auth_token: [hunter2hunter2]}",
        "server: {auth_tokn: hunter2hunter2}",
        "server: hunter2hunter2",
        "sinks: {vm: {type: remote_write, url: 'http://u:hunter2hunter2@'}}",
        "sinks: {vm: {type: remote_write, url: 'http://x', bearer_token: 'hunter2é'}}",
        "sinks: {vm: {type: remote_write, url: 'u:hunter2hunter2@vm'}}",
        "sinks: {vm: {type: remote_write, url: 'http://x', basic_auth: hunter2hunter2}}",
        "sinks: {vm: {type: remote_write, url: 'http://x', headers: {X-Key: [hunter2hunter2]}}}",
        "sinks: {vm: {type: remote_write, url: 'http://x', headers: hunter2hunter2}}",
        "server: {auth_token: 'hunter2hunter2}",
        "server: {auth_token: hunter2hunter2, auth_token: hunter2}",
        "sources: {node: {type: scrape, targets: [{url: 'http://x', bearer_token: [hunter2]}]}}",
    ],
)
def test_no_problem_shows_a_secret(tmp_path: Path, text: str) -> None:
    assert not [problem for problem in problems(tmp_path, text) if "hunter2" in problem]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("agent: {flush_interval_seconds: .inf}", "cipush.yml:1: agent.flush_interval_seconds: must be less than"),
        ("store: {default_ttl_seconds: .inf}", "cipush.yml:1: store.default_ttl_seconds: must be a finite number (got inf)"),
        ("store: {max_series: 1.5}", "cipush.yml:1: store.max_series: must be a whole number (got 1.5)"),
        ("agent: {job: 2026-11-21}", "cipush.yml:1: agent.job: must be text; quote it"),
        ("agent: {job: 010}", "cipush.yml:1: agent.job: must be text; quote it (got 10)"),
        ("agent: {labels: {site: 5}}", "cipush.yml:1: agent.labels.site: must be text; quote it (got 5)"),
        ("agent: {labels: {a-b: x}}", "cipush.yml:1: agent.labels: 'a-b' is not a label name"),
        ("agent: {job: ''}", "cipush.yml:1: agent.job: must not be empty"),
        ("sources: {internal: {type: host}}", "cipush.yml:1: sources.internal: is the name of the agent's own numbers"),
        ("agent: [1]", "cipush.yml:1: agent: must be a mapping"),
        ("sinks: [{type: stdout}]", "cipush.yml:1: sinks: must be a mapping"),
        ("server: {tls_cert_file: /nope/x.pem}", "cipush.yml:1: server: tls_cert_file and tls_key_file belong together"),
        ("server: {tls_cert_file: /nope/x, tls_key_file: /nope/y}", "cipush.yml:1: server.tls_cert_file: /nope/x cannot be read"),
        ("sinks:\n  vm: {type: vm_import, url: 'http://x',\n   bearer_token_file: /nope/t}",
         "cipush.yml:3: sinks.vm.bearer_token_file: /nope/t cannot be read: No such file or directory; check the path"),
    ],
)  # fmt: skip
def test_wrong_values_say_what_to_do(tmp_path: Path, text: str, expected: str) -> None:
    assert problems(tmp_path, text)[0].startswith(expected)


@pytest.mark.parametrize("address", ["here", "1.2.3.4", "1.2.3.4:", ":x", "1.2.3.4:99999", "::1:80", "1.2.3.4:-1", "1.2.3.4:٣"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="must be host:port"):
        load([], {}, listen=address)


def test_addresses_are_split() -> None:
    assert [split_address(text) for text in ("[::1]:80", ":0", "localhost:9817")] == [("::1", 80), ("", 0), ("localhost", 9817)]


@pytest.mark.parametrize(
    ("url", "name", "section"),
    [
        ("http://127.0.0.1:8428", "push-127-0-0-1-8428-",
         {"type": "remote_write", "url": "http://127.0.0.1:8428/api/v1/write", "receiver": "victoriametrics"}),
        ("https://vm.example/prefix/", "push-vm-example-443-",
         {"type": "remote_write", "url": "https://vm.example/prefix/api/v1/write", "receiver": "victoriametrics"}),
        ("http://p:9090/api/v1/write", "push-p-9090-", {"type": "remote_write", "receiver": "generic"}),
        ("http://mimir/api/v1/push", "push-mimir-80-", {"type": "remote_write", "url": "http://mimir/api/v1/push"}),
        ("http://vm:8480/insert/0/prometheus/api/v1/import", "push-vm-8480-", {"type": "vm_import"}),
        ("http://gate:9091", "push-gate-9091-", {"type": "pushgateway", "url": "http://gate:9091"}),
        ("http://gate/metrics/job/x/instance/y", "push-gate-80-", {"type": "pushgateway"}),
        ("http://h:9091/api/v1/write", "push-h-9091-", {"type": "remote_write"}),
        ("http://[::1]:8428", "push---1-8428-", {"type": "remote_write"}),
    ],
)  # fmt: skip
def test_push_tells_the_sink_from_the_url(url: str, name: str, section: dict[str, str]) -> None:
    ((found, options),) = load([], {}, pushes=[url]).config.sinks.items()

    assert found.startswith(name)
    assert {key: getattr(getattr(options, key), "value", getattr(options, key)) for key in section} == section


def test_two_pushes_to_one_host_are_two_sinks() -> None:
    assert len(load([], {}, pushes=["http://h/a", "http://h/b", "http://h/a"]).config.sinks) == 2


@pytest.mark.parametrize("url", ["127.0.0.1:8428", "localhost:8428", "ftp://x", "http://", "http://x:port", "http://[::1", ""])
def test_a_push_that_is_no_url_is_a_problem(url: str) -> None:
    with pytest.raises(ConfigError, match=r"--push: .*write it like http://127\.0\.0\.1:8428"):
        load([], {}, pushes=[url])


def test_a_pushed_sink_can_be_changed_by_the_environment() -> None:
    name = next(iter(load([], {}, pushes=["http://h"]).config.sinks))
    variable = "CIPUSH_SINKS__" + name.upper().replace("-", "_") + "__STRICT_SPEC"

    assert load([], {variable: "true"}, pushes=["http://h"]).config.sinks[name].strict_spec is True  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("state_dir", "environ", "expected"),
    [
        ("none", {"STATE_DIRECTORY": "/var/lib/cipush"}, None),
        ("/srv/x", {"STATE_DIRECTORY": "/var/lib/cipush"}, "/srv/x"),
        ("auto", {"STATE_DIRECTORY": "/var/lib/cipush:/var/lib/other", "XDG_STATE_HOME": "/x"}, "/var/lib/cipush"),
        ("auto", {"XDG_STATE_HOME": "/x", "HOME": "/home/u"}, "/x/cipush"),
        ("auto", {"HOME": "/home/u"}, "/home/u/.local/state/cipush"),
    ],
)
def test_the_state_directory_is_found(state_dir: str, environ: dict[str, str], expected: str | None) -> None:
    config = load([], {}, [("agent.state_dir", state_dir)]).config

    assert resolve_state_dir(config, environ) == (Path(expected) if expected else None)


def test_the_first_usual_place_with_a_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    (tmp_path / "config" / "cipush").mkdir(parents=True)
    user = tmp_path / "config" / "cipush" / "cipush.yml"
    user.write_text("")

    assert find_files(environ) == (user,)

    (tmp_path / "cipush.yml").write_text("")
    assert find_files(environ) == (Path("cipush.yml"),)
    assert find_files(environ | {"CIPUSH_CONFIG": "/a.yml:/b.yml"}) == (Path("/a.yml"), Path("/b.yml"))


def test_what_is_in_force_is_shown_with_its_origin_and_without_secrets(tmp_path: Path) -> None:
    text = (
        "sinks:\n  vm:\n    type: remote_write\n    url: http://u:hunter2pw@vm/x?k=hunter2\n    headers: {X-Key: hunter2-key}\n"
    )
    shown = effective(load([file(tmp_path, text)], {"CIPUSH_SERVER_AUTH_TOKEN": "hunter2-token"}, [("agent.job", "ci")]))
    lines = {" ".join(line.split()) for line in shown.splitlines()}

    assert "hunter2" not in shown
    assert 'job: "ci" # --set agent.job' in lines
    assert 'auth_token: "****" # CIPUSH_SERVER_AUTH_TOKEN' in lines
    assert "flush_interval_seconds: 15 # default" in lines
    assert f'url: "http://vm/x?****" # {tmp_path}/cipush.yml:4' in lines
    assert 'username: "u" # derived' in lines
    assert 'type: "host" # name of the section' in lines


def test_what_is_shown_is_a_valid_configuration(tmp_path: Path) -> None:
    text = "agent: {labels: {a: b}}\nsources: {node: {type: scrape, targets: [{url: 'http://x/metrics', labels: {c: d}}, {url: 'http://y'}]}}"
    first = load([file(tmp_path, text)], {}, pushes=["http://127.0.0.1:9091"])

    again = load([file(tmp_path, effective(first))], {})

    assert again.config == first.config
    assert yaml.safe_load(effective(first))["sources"]["node"]["targets"][0]["labels"] == {"c": "d"}


def test_a_configuration_is_immutable() -> None:
    config = load([], {}).config

    with pytest.raises(TypeError):
        config.sinks["x"] = None  # type: ignore[index]
    with pytest.raises(ValueError, match="frozen"):
        config.agent.job = "x"


def test_a_broken_file_leaves_a_loaded_configuration_alone(tmp_path: Path) -> None:
    before = load([file(tmp_path, "agent: {job: ci}")], {})
    with pytest.raises(ConfigError):
        load([file(tmp_path, "agent: [")], {})

    assert before.config.agent.job == "ci"


def test_loading_the_same_twice_gives_equal_sections(tmp_path: Path) -> None:
    path = file(tmp_path, json.dumps({"sinks": {"vm": {"type": "vm_import", "url": "http://x", "headers": {"a": "secret-b"}}}}))

    assert load([path], {}) == load([path], {})

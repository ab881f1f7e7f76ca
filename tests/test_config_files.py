"""Reading files: what dynaconf would do beside reading, and does not do here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from agent.config import load
from agent.config.files import MAX_BYTES, FileError, read_file
from agent.errors import ConfigError


def written(tmp_path: Path, text: str, name: str = "cipush.yml") -> Path:
    file = tmp_path / name
    file.write_text(text)
    return file


def read(tmp_path: Path, text: str, name: str = "cipush.yml") -> dict[str, Any]:
    return read_file(written(tmp_path, text, name)).tree


def problems(tmp_path: Path, text: str, name: str = "cipush.yml") -> list[str]:
    """What is told about a file, without its directory."""
    with pytest.raises(ConfigError) as caught:
        load([written(tmp_path, text, name)], {})
    return [problem.replace(f"{tmp_path}/", "") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yml", "agent: {job: ci, labels: {site: berlin}}\nstore: {max_series: 5}\n"),
        ("a.yaml", "agent:\n  job: ci\n  labels:\n    site: berlin\nstore:\n  max_series: 5\n"),
        ("a.json", '{"agent": {"job": "ci", "labels": {"site": "berlin"}},\n\t"store": {"max_series": 5}}'),
        ("a.toml", '[agent]\njob = "ci"\nlabels = {site = "berlin"}\n[store]\nmax_series = 5\n'),
    ],
)
def test_yaml_json_and_toml_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    assert read(tmp_path, text, name) == {"agent": {"job": "ci", "labels": {"site": "berlin"}}, "store": {"max_series": 5}}


def test_a_file_that_is_missing_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nope\.yml: cannot be read: No such file.*check the path"):
        load([tmp_path / "nope.yml"], {})


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be read"):
        read_file(tmp_path)


@pytest.mark.parametrize("text", ["", "\n# nothing\n", "~\n", "agent:\nsinks:\n"])
def test_a_file_that_says_nothing_changes_nothing(tmp_path: Path, text: str) -> None:
    assert load([written(tmp_path, text)], {}).config == load([], {}).config


@pytest.mark.parametrize("text", ["@format {env[HOME]}", "@int 5", "@none", "@json {}", "@jinja {{ 1 + 1 }}", "@merge x", "@del"])
def test_text_that_dynaconf_would_evaluate_stays_text(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, f'agent: {{job: "{text}"}}') == {"agent": {"job": text}}


@pytest.mark.parametrize("text", ["yes", "no", "on", "off"])
def test_yes_and_on_stay_text(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, f"agent: {{job: {text}}}") == {"agent": {"job": text}}


@pytest.mark.parametrize("word", ["SETTINGS_FILE", "SETTINGS_FILES", "INCLUDES", "SECRETS", "PRELOAD"])
def test_no_environment_switch_of_dynaconf_adds_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    other = written(tmp_path, "agent: {job: other}\nstore: {max_series: 1}\n", "other.yml")
    monkeypatch.setenv(f"{word}_FOR_DYNACONF", str(other))

    assert read(tmp_path, "agent: {job: ci}") == {"agent": {"job": "ci"}}


@pytest.mark.parametrize(
    ("switch", "value"),
    [("AUTO_CAST_FOR_DYNACONF", "true"), ("ENVIRONMENTS_FOR_DYNACONF", "true"), ("MERGE_ENABLED_FOR_DYNACONF", "true"),
     ("ENVVAR_PREFIX_FOR_DYNACONF", "CIPUSH"), ("LOADERS_FOR_DYNACONF", "[]"), ("YAML_LOADER_FOR_DYNACONF", "unsafe_load")],
)  # fmt: skip
def test_no_environment_switch_of_dynaconf_changes_how_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switch: str, value: str
) -> None:
    monkeypatch.setenv(switch, value)
    monkeypatch.setenv("CIPUSH_STORE__MAX_SERIES", "5")

    assert read(tmp_path, 'agent: {job: "@int 5"}') == {"agent": {"job": "@int 5"}}


def test_the_environment_is_as_it_was_after_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTO_CAST_FOR_DYNACONF", "true")
    before = dict(os.environ)

    read(tmp_path, "agent: {job: ci}")

    assert dict(os.environ) == before


def test_neighbours_of_a_file_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "agent: {job: local}", "cipush.local.yml")
    written(tmp_path, "agent: {job: secrets}", ".secrets.yml")
    written(tmp_path, "AGENT__JOB=dotenv\nDYNACONF_AGENT__JOB=dotenv\n", ".env")
    written(tmp_path, "raise SystemExit(3)\n", "dynaconf_hooks.py")

    assert read(tmp_path, "agent: {job: ci}") == {"agent": {"job": "ci"}}


@pytest.mark.parametrize("key", ["dynaconf_include", "dynaconf_merge", "load_dotenv", "settings_module"])
def test_keys_that_are_orders_to_dynaconf_are_unknown_sections(tmp_path: Path, key: str) -> None:
    assert problems(tmp_path, f"agent: {{job: ci}}\n{key}: [/etc/passwd]\n")[0].startswith(
        f"cipush.yml:2: {key}: unknown section"
    )


def test_double_underscores_in_a_file_are_no_nesting(tmp_path: Path) -> None:
    assert problems(tmp_path, "agent__job: ci\n")[0].startswith("cipush.yml:1: agent__job: unknown section")


def test_a_label_may_have_double_underscores(tmp_path: Path) -> None:
    assert read(tmp_path, "agent: {labels: {a__b: x}}") == {"agent": {"labels": {"a__b": "x"}}}


def test_a_section_in_another_case_is_another_section(tmp_path: Path) -> None:
    assert problems(tmp_path, "agent: {job: a}\nAgent: {job: b}\n") == [
        "cipush.yml:2: Agent: unknown section; did you mean agent?"
    ]


def test_keys_named_like_methods_are_just_keys(tmp_path: Path) -> None:
    tree = read(tmp_path, "sinks: {items: {type: stdout}, get: {type: stdout}, keys: {type: stdout}, reload: {type: stdout}}")

    assert list(tree["sinks"]) == ["items", "get", "keys", "reload"]


@pytest.mark.parametrize(
    ("name", "text", "first", "second"),
    [
        ("a.yml", "agent:\n  job: a\n  job: secret-b\n", 2, 3),
        ("a.json", '{"agent": {"job": "a",\n "job": "secret-b"}}', 1, 2),
    ],
)
def test_a_key_that_stands_twice_is_told_with_its_line(tmp_path: Path, name: str, text: str, first: int, second: int) -> None:
    found = problems(tmp_path, text, name)

    assert found == [f"{name}:{second}: agent.job: stands here a second time (first in line {first}); keep one"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.yml", "agent: {job: a}\nstore: [\n", "a.yml:3: is not valid YAML: "),
        ("a.yml", "agent:\n\tjob: a\n", "a.yml:2: is not valid YAML: "),
        ("a.json", '{"agent":\n {"job": }}', "a.json:2: is not valid JSON: Expecting value"),
        ("a.toml", "[agent]\njob = \n", "a.toml:2: is not valid TOML: Invalid value"),
        ("a.yml", "- a\n- b\n", "a.yml:1: must be a mapping with the sections agent"),
        ("a.yml", "hello\n", "a.yml:1: must be a mapping with the sections agent"),
        ("a.json", "[1]", "a.json:1: must be a mapping with the sections agent"),
        ("a.yml", "agent: !!python/object/apply:os.system [ls]\n", "a.yml:1: has a YAML tag (!...) that is not plain data"),
        ("a.yml", "agent: {job: !env HOME}\n", "a.yml:1: has a YAML tag (!...) that is not plain data"),
        ("a.yml", "? [a, b]\n: c\n", "a.yml:1: has a key that is not plain text"),
        ("a.ini", "[agent]\n", "a.ini: has the ending .ini; name it .yml, .toml or .json"),
        ("a.yml", "agent: {job: " + "[" * 60 + "]" * 60 + "}", "a.yml:1: has more than"),
        ("a.yml", "agent: {job: " + "[" * 5000 + "]" * 5000 + "}", "a.yml"),
        ("a.json", "[" * 100_000, "a.json"),
    ],
)
def test_what_cannot_be_understood_is_told_with_its_line(tmp_path: Path, name: str, text: str, expected: str) -> None:
    (found,) = problems(tmp_path, text, name)

    assert found.startswith(expected)


def test_an_alias_bomb_is_refused(tmp_path: Path) -> None:
    levels = "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 10)}]\n" for i in range(9))

    with pytest.raises(FileError, match="has more than"):
        read(tmp_path, f"a: &a [x, x]\n{levels}")


def test_an_alias_to_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="has more than"):
        read(tmp_path, "agent: &a {job: *a}\n")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="is larger than"):
        read(tmp_path, "#" * (MAX_BYTES + 1))


def test_a_file_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_bytes(b"agent: {job: \xff}")

    with pytest.raises(FileError, match="not UTF-8"):
        read_file(tmp_path / "a.yml")


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_bytes(b"\xef\xbb\xbfagent: {job: ci}")

    assert read_file(tmp_path / "a.yml").tree == {"agent": {"job": "ci"}}


def test_anchors_and_merge_keys_work(tmp_path: Path) -> None:
    text = "sinks:\n  a: &a {type: stdout, extra_labels: {x: y}}\n  b:\n    <<: *a\n    type: stdout\n"

    assert read(tmp_path, text)["sinks"]["b"] == {"type": "stdout", "extra_labels": {"x": "y"}}


def test_later_files_merge_mappings_and_replace_lists(tmp_path: Path) -> None:
    one = written(tmp_path, "agent: {job: a, labels: {x: '1', y: '2'}}\nsinks: {out: {type: stdout}}\n", "one.yml")
    two = written(tmp_path, "agent: {labels: {y: '3'}}\nsinks:\n", "two.yml")

    config = load([one, two], {}).config

    assert (config.agent.job, config.agent.labels, list(config.sinks)) == ("a", {"x": "1", "y": "3"}, ["out"])


def test_a_list_in_a_later_file_replaces_the_earlier(tmp_path: Path) -> None:
    from agent.config.tree import Tree

    tree = Tree()
    tree.merge({"a": {"b": [1, 2], "c": 1}}, lambda _path: "one")
    tree.merge({"a": {"b": [3]}}, lambda _path: "two")

    assert tree.data == {"a": {"b": [3], "c": 1}}
    assert tree.origins[("a", "b")] == "two"
    assert ("a", "b", 1) not in tree.origins


def test_toml_problems_have_lines_too(tmp_path: Path) -> None:
    text = '[agent]\njob = "ci"\n\n[sinks.vm]\ntype = "remote_write"\nurl = "http://x"\n[sinks.vm.queue]\nmax_byte = 3\n'

    assert problems(tmp_path, text, "a.toml") == ["a.toml:8: sinks.vm.queue.max_byte: unknown key; did you mean max_bytes?"]

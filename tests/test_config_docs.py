"""Schema, example and reference page say what the code takes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.config import keys, load
from agent.config.docs import REGISTRIES, example, reference, schema
from agent.config.model import Core
from agent.plugin import options_of

KINDS = [(section, kind) for section, registry in REGISTRIES.items() for kind in registry]


def documented(model: Any, path: str = "") -> list[tuple[str, str]]:
    """(key, description) of every key below a model, sections in lists too."""
    found = []
    for name, field in keys.fields(model).items():
        here = f"{path}.{name}".lstrip(".")
        found.append((here, field.description or ""))
        for inner in (field.annotation, keys.step(field.annotation, 0)):
            found += documented(inner, here)
    return found


def all_keys() -> list[tuple[str, str]]:
    found = documented(Core)
    for section, kind in KINDS:
        found += documented(options_of(REGISTRIES[section], kind), f"{section}.{kind}")
    return found


def test_every_key_has_a_description() -> None:
    assert [key for key, description in all_keys() if len(description) < 8] == []


def test_the_example_is_valid_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "cipush.yml").write_text(example())

    config = load([tmp_path / "cipush.yml"], {}).config

    assert [*config.sinks, *config.sources] == [kind for _, kind in KINDS]


def test_the_example_is_valid_with_every_line_in_force_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(example())
    (tmp_path / "b.yml").write_text(re.sub(r"^( *)#(\w+:)", r"\1\2", example(), flags=re.M))

    commented, all_of_it = (load([tmp_path / name], {}).config for name in ("a.yml", "b.yml"))

    assert (commented.agent, commented.log, commented.server, commented.store) == (
        all_of_it.agent,
        all_of_it.log,
        all_of_it.server,
        all_of_it.store,
    )
    assert commented.sources == all_of_it.sources


def test_the_example_has_every_key() -> None:
    shown = yaml.safe_load(re.sub(r"^( *)#(\w+:)", r"\1\2", example(), flags=re.M))

    def has(path: str) -> bool:
        at: Any = shown
        for part in path.split("."):
            if isinstance(at, list):
                return True
            if part == "type":
                return True
            if part not in at:
                return False
            at = at[part]
        return True

    assert [key for key, _ in all_keys() if not has(key)] == []


def test_the_reference_page_is_what_the_code_makes() -> None:
    page = Path(__file__).parent.parent / "docs" / "configuration.md"

    assert page.read_text() == reference(), "run: python -m agent.config.docs > docs/configuration.md"


def test_the_schema_knows_every_section_and_refuses_others() -> None:
    found = schema()

    assert set(found["properties"]) == {"agent", "log", "server", "store", "sinks", "sources"}
    assert found["additionalProperties"] is False


@pytest.mark.parametrize(("section", "kind"), KINDS)
def test_the_schema_has_every_plugin_with_its_keys(section: str, kind: str) -> None:
    found = schema()
    typed = [
        option
        for option in found["properties"][section]["additionalProperties"]["anyOf"]
        if option["properties"]["type"]["const"] == kind
    ]

    definition = found["$defs"][typed[0]["$ref"].rpartition("/")[2]]

    assert set(definition["properties"]) == set(options_of(REGISTRIES[section], kind).model_fields)
    assert definition["additionalProperties"] is False


def test_every_reference_in_the_schema_leads_somewhere() -> None:
    found = schema()

    wanted = set(re.findall(r'"#/\$defs/([^"]+)"', json.dumps(found)))

    assert wanted - set(found["$defs"]) == set()


def test_the_schema_shows_no_default_of_a_secret() -> None:
    assert "Secret(" not in json.dumps(schema())

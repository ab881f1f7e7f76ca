"""What can be configured, told from the models alone: JSON Schema, a commented example, the reference page."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from agent.config import keys
from agent.config.model import Core
from agent.config.show import scalar
from agent.plugin import load, options_of
from agent.secret import Secret
from agent.sinks import SINKS
from agent.sources import SOURCES

REGISTRIES: Mapping[str, Mapping[str, str]] = {"sinks": SINKS, "sources": SOURCES}
NAME_PATTERN = "^[a-z0-9_-]+$"
_ABOUT = {
    "sinks": "Where samples go: name -> section. The name stands for the queue; `type` may be left out where it equals the name.",
    "sources": "Where samples come from: name -> section. `type` may be left out where it equals the name.",
}
_GIVEN: Mapping[str, Mapping[str, Any]] = {
    "remote_write": {"url": "http://127.0.0.1:8428/api/v1/write"},
    "vm_import": {"url": "http://127.0.0.1:8428/api/v1/import"},
    "pushgateway": {"url": "http://127.0.0.1:9091"},
    "scrape": {"targets": [{"url": "http://127.0.0.1:9100/metrics"}]},
}
"""The least each kind needs to be valid; a kind that is not here needs nothing."""


class _Quiet(GenerateJsonSchema):
    """Leaves out the defaults of secrets without a warning."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012  pydantic's own way to say it


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a configuration file, for editors."""
    models = [(section, kind, options_of(registry, kind)) for section, registry in REGISTRIES.items() for kind in registry]
    wanted: list[tuple[Any, Literal["validation"]]] = [(Core, "validation"), *((model, "validation") for _, _, model in models)]
    refs, definitions = models_json_schema(wanted, ref_template="#/$defs/{model}", schema_generator=_Quiet)
    top = definitions["$defs"].pop(refs[Core, "validation"]["$ref"].rpartition("/")[2])
    for definition in (top, *definitions["$defs"].values()):
        _allow_empty(definition, definitions["$defs"])
    properties = dict(top["properties"])
    for section in REGISTRIES:
        here = {kind: refs[model, "validation"] for place, kind, model in models if place == section}
        typed = [{**ref, "properties": {"type": {"const": kind}}, "required": ["type"]} for kind, ref in here.items()]
        properties[section] = {
            "type": ["object", "null"],
            "description": _ABOUT[section],
            "propertyNames": {"pattern": NAME_PATTERN},
            "properties": {kind: {"anyOf": [ref, {"type": "null"}, *typed]} for kind, ref in here.items()},
            "additionalProperties": {"anyOf": typed},
        }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "cipush",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "$defs": definitions["$defs"],
    }


def _allow_empty(definition: dict[str, Any], definitions: Mapping[str, Any]) -> None:
    """A section with nothing below it (`queue:`) has its defaults."""
    for name, value in definition.get("properties", {}).items():
        ref = value.get("$ref", "")
        if definitions.get(ref.rpartition("/")[2], {}).get("type") == "object":
            rest = {key: inner for key, inner in value.items() if key != "$ref"}
            definition["properties"][name] = {**rest, "anyOf": [{"$ref": ref}, {"type": "null"}]}


def example() -> str:
    """A commented configuration that is valid as it stands; lines that begin `#key` or `# - ` show defaults to change."""
    lines = [
        "# Every key of cipush. What is commented out is the default; of sinks and sources keep those you want.",
        "# Environment: agent.job is CIPUSH_AGENT__JOB or CIPUSH_AGENT_JOB; with _FILE added the value is read from a file.",
    ]
    for section, field in Core.model_fields.items():
        lines += ["", f"# {field.description}", f"{section}:", *_example(field.annotation, {}, "  ")]
    for section, registry in REGISTRIES.items():
        lines += ["", f"# {_ABOUT[section]}", f"{section}:"]
        for kind in registry:
            lines += [
                f"  # {_summary(registry, kind)}",
                f"  {kind}:",
                *_example(options_of(registry, kind), _GIVEN.get(kind, {}), "    "),
            ]
    return "\n".join(lines) + "\n"


def reference() -> str:
    """The reference page, Markdown."""
    lines = [
        "# Configuration reference",
        "",
        "Made by `python -m agent.config.docs`; do not edit. `cipush config example` prints a commented file,",
        "`cipush config schema` a JSON Schema for editors, `cipush check` what is in force and where each key came from.",
        "",
        "Files are YAML, TOML or JSON. Without `--config` the files named in `CIPUSH_CONFIG` are read (separated like `PATH`),",
        "else the first of `./cipush.yml`, `$XDG_CONFIG_HOME/cipush/cipush.yml`, `/etc/cipush/cipush.yml`. Of several files a",
        "later one beats an earlier one: mappings merge, lists are replaced. Environment beats files, flags beat environment.",
        "",
        "A key `a.b.c` is the variable `CIPUSH_A__B__C` or `CIPUSH_A_B_C`. The form with `__` also creates sinks and sources",
        "(`CIPUSH_SINKS__VM__TYPE`). With `_FILE` added, the value is read from the file named. Lists and mappings are JSON, or",
        "`a,b` and `k=v,k=v`; `-` in a name is `_`. On the command line the same is `--set a.b.c=value`.",
        "",
        "Without any source configured the `host` source runs; the `internal` source is always there.",
        "",
    ]
    for section, field in Core.model_fields.items():
        lines += [f"## {section}", "", f"{_sentence(field.description)}", "", *_table(field.annotation), ""]
    for section, registry in REGISTRIES.items():
        lines += [f"## {section}", "", _ABOUT[section], ""]
        for kind in registry:
            lines += [f"### {section}: {kind}", "", _summary(registry, kind), "", *_table(options_of(registry, kind)), ""]
    return "\n".join(lines).rstrip() + "\n"


def _summary(registry: Mapping[str, str], kind: str) -> str:
    return (load(registry, kind).__doc__ or "").strip().partition("\n")[0]


def _sentence(text: str | None) -> str:
    return f"{(text or '')[:1].upper()}{(text or '')[1:]}."


def _example(model: Any, given: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, field in keys.fields(model).items():
        if name == "type":
            continue
        yield f"{indent}# {field.description}"
        items = keys.fields(keys.step(field.annotation, 0))
        if items:
            yield f"{indent}# each takes: {', '.join(items)}"
        for given_so in field.examples or ():
            yield f"{indent}# such as {name}: {_flow(given_so)}"
        if keys.fields(field.annotation) and name not in given:
            yield f"{indent}{name}:"
            yield from _example(field.annotation, {}, indent + "  ")
        elif name in given:
            yield f"{indent}{name}: {_flow(given[name])}"
        else:
            yield f"{indent}#{name}: {_flow(_default(field))}"


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return scalar(value)


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True) if not field.is_required() else ""


def _table(model: Any) -> Iterator[str]:
    yield "| key | takes | default | |"
    yield "|---|---|---|---|"
    yield from _rows(model, "")


def _rows(model: Any, prefix: str) -> Iterator[str]:
    for name, field in keys.fields(model).items():
        inner = keys.unwrap(field.annotation)
        items = keys.step(inner, 0) if keys.is_list(inner) else None
        if keys.fields(inner):
            yield from _rows(inner, f"{prefix}{name}.")
            continue
        default = "needed" if field.is_required() else f"`{_flow(_default(field))}`"
        text = (field.description or "").replace("|", "\\|")
        yield f"| `{prefix}{name}` | {_takes(field.annotation)} | {default.replace('|', chr(92) + '|')} | {text} |"
        if keys.fields(items):
            yield from _rows(items, f"{prefix}{name}[].")


def _takes(annotation: Any) -> str:
    kind = keys.unwrap(annotation)
    if get_origin(kind) is Literal:
        return " or ".join(f"`{word}`" for word in get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " or ".join(f"`{member.value}`" for member in kind)
    if keys.is_mapping(kind):
        return "mapping"
    if keys.is_list(kind):
        return "list"
    return {bool: "true or false", int: "whole number", float: "number", Secret: "secret text"}.get(kind, "text")


if __name__ == "__main__":
    sys.stdout.write(reference())

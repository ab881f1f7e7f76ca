"""The shape of the tree: imports point down only, and the house limits that a linter does not know."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 50

# Lower imports nothing higher. Units of one rank are strangers to each other, but for the pairs below.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("model", "errors", "plugin", "secret", "backoff", "leaps", "log", "relabel"),
    ("wire", "spool", "store", "ledger", "state", "selfmon"),
    ("net",),
    ("sources", "sinks"),
    ("poll", "commit", "flush", "deliver", "web"),
    ("once", "process", "runtime", "reload", "parts", "view", "garbage", "config"),
    ("cli", "__main__"),
)
RANKS = {unit: rank for rank, units in enumerate(LAYERS) for unit in units}
NEIGHBOURS = {
    ("store", "wire"),  # a page is wire records
    ("store", "selfmon"),  # what they measure they declare
    ("spool", "selfmon"),
    ("ledger", "selfmon"),
    ("runtime", "config"),  # the runtime is built from it
    ("runtime", "parts"),  # the sources and lanes it runs
    ("parts", "config"),
    ("runtime", "view"),  # what it shows of itself
    ("view", "runtime"),  # its type only
    ("view", "config"),
    ("view", "parts"),  # a type of its
    ("runtime", "garbage"),
    ("runtime", "reload"),
    ("reload", "config"),
    ("process", "config"),
    ("process", "reload"),  # a type of its
    ("process", "runtime"),
    ("once", "config"),
    ("once", "process"),
    ("once", "runtime"),  # one round of it
    ("once", "parts"),
    ("__main__", "cli"),  # python -m agent
}
SIM_RANK = RANKS["runtime"] - 0.5
IMPORTS_SIM = {"cli"}


def unit_of(module: str) -> str:
    """`agent.wire.remote_write` -> `wire`, `agent.config.keys` -> `config`; the package itself -> ""."""
    return module.split(".")[1] if "." in module else ""


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module a file imports, wherever in it the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a module comes from"
            if node.module == "agent":  # `from agent import model` imports agent.model
                yield from ("agent" if alias.name == "__version__" else f"agent.{alias.name}" for alias in node.names)
            else:
                yield node.module or ""


def may_import(importer: str, found: str) -> bool:
    """Whether unit `importer` may import unit `found`."""
    if importer == found or not found or (importer, found) in NEIGHBOURS:
        return True
    if found == "sim":
        return importer in IMPORTS_SIM
    if importer == "sim":
        return RANKS[found] < SIM_RANK
    if RANKS[importer] == RANKS[found] == 0:
        return True
    return RANKS[found] < RANKS[importer]


def wrong_imports(module: str, source: str) -> list[str]:
    """The imports of `module` that the layers forbid, each as a sentence."""
    wrong = []
    for name in imported(ast.parse(source)):
        if name.split(".")[0] == "asyncio":
            wrong.append(f"{module} imports asyncio; use anyio, so that tests run on a virtual clock")
        elif name.split(".")[0] == "agent" and not may_import(unit_of(module), unit_of(name)):
            wrong.append(f"{module} imports {name}, which is not below it")
    return wrong


def not_protocols(source: str) -> list[str]:
    """The top-level statements that are neither a docstring, an import nor a Protocol."""
    wrong = []
    for node in ast.parse(source).body:
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_protocol = isinstance(node, ast.ClassDef) and any("Protocol" in ast.unparse(base) for base in node.bases)
        if not (is_text or is_protocol or isinstance(node, ast.Import | ast.ImportFrom)):
            wrong.append(ast.unparse(node).splitlines()[0])
    return wrong


def long_functions(source: str) -> list[str]:
    """The functions over the limit, each with its length."""
    return [
        f"{node.name}: {length} lines"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]


def modules(folder: str) -> list[Path]:
    """The hand-written Python files of a folder."""
    return [path for path in sorted((ROOT / folder).rglob("*.py")) if not path.name.endswith("_pb2.py")]


def name_of(path: Path) -> str:
    """agent/wire/__init__.py -> agent.wire."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def named(path: Path) -> str:
    """How a file is called in the test's name."""
    return str(path.relative_to(ROOT))


AGENT = modules("agent")
ALL = AGENT + modules("tests")


@pytest.mark.parametrize("path", AGENT, ids=named)
def test_every_module_stands_in_a_layer(path: Path) -> None:
    unit = unit_of(name_of(path))

    assert unit in {"", "sim", *RANKS}, f"say in LAYERS where {unit} belongs"


@pytest.mark.parametrize("path", AGENT, ids=named)
def test_imports_point_down(path: Path) -> None:
    assert wrong_imports(name_of(path), path.read_text()) == []


@pytest.mark.parametrize("path", [path for path in AGENT if path.name == "base.py"], ids=named)
def test_base_files_hold_protocols_only(path: Path) -> None:
    assert not_protocols(path.read_text()) == []


@pytest.mark.parametrize("path", ALL, ids=named)
def test_files_and_functions_are_short(path: Path) -> None:
    source = path.read_text()

    assert len(source.splitlines()) <= MAX_FILE_LINES
    assert long_functions(source) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("agent.wire.x", "from agent.store import pages"),
        ("agent.wire.x", "from agent import runtime"),
        ("agent.store.x", "import agent.spool.disk"),
        ("agent.sinks.x", "def f():\n    from agent.sources.host import Host"),
        ("agent.web.x", "from agent.sim.world import World"),
        ("agent.sim.x", "from agent.runtime import Runtime"),
        ("agent.poll", "import asyncio"),
        ("agent.poll", "from asyncio import sleep"),
    ],
)
def test_a_forbidden_import_is_found(module: str, source: str) -> None:
    assert len(wrong_imports(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("agent.store.pages", "from agent.wire import remote_write"),
        ("agent.store.pages", "from agent.store.table import Table"),
        ("agent.cli", "from agent.sim.world import World"),
        ("agent.sim.receiver", "from agent.web.server import serve"),
        ("agent.log", "from agent.secret import redact"),
        ("agent.poll", "import anyio"),
    ],
)
def test_an_allowed_import_is_left_alone(module: str, source: str) -> None:
    assert wrong_imports(module, source) == []


def test_code_in_a_base_file_is_found() -> None:
    source = '"""Doc."""\nfrom typing import Protocol\nclass A(Protocol): ...\nclass B: ...\nLIMIT = 3'

    assert not_protocols(source) == ["class B:", "LIMIT = 3"]


def test_a_long_function_is_found() -> None:
    source = "def f():\n" + "    pass\n" * MAX_FUNCTION_LINES

    assert long_functions(source) == [f"f: {MAX_FUNCTION_LINES + 1} lines"]

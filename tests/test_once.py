"""One round of the agent: who did not accept is named, and the state directory is one agent's."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from agent import once
from agent.config import load
from agent.errors import TemporaryError
from agent.ledger.batch import SeriesId, Shape
from agent.runtime import LEDGER
from agent.sources import SOURCES
from agent.sources.github.families import families
from agent.sources.github.options import Options
from agent.state import StateDir
from tests.ledgers import Book, counted, item
from tests.loopback import Answer, receiver, status

pytestmark = pytest.mark.anyio

DEAD = "http://127.0.0.1:1"


def loaded(sinks: dict[str, str], state_dir: str = "none") -> Any:
    """A configuration of nothing but the agent's own numbers and import sinks: name -> address."""
    settings = [("sources.internal.type", "internal"), ("agent.state_dir", state_dir), ("agent.shutdown_grace_seconds", "0.3")]
    for name, url in sinks.items():
        settings += [(f"sinks.{name}.type", "vm_import"), (f"sinks.{name}.url", f"{url}/api/v1/import")]
    return load((), {}, settings)


async def test_a_round_that_every_sink_accepted_ends_well() -> None:
    async with receiver() as found:
        await once.push(loaded({"good": found.url}), {})

    assert len(found.requests) == 1


async def test_every_sink_that_did_not_accept_is_named() -> None:
    async with receiver(*[Answer(status(400))] * 40) as found:
        with pytest.raises(TemporaryError) as raised:
            await once.push(loaded({"dead": DEAD, "refusing": found.url}), {})

    assert "sink dead (http://127.0.0.1:1/" in str(raised.value)
    assert "sink refusing (" in str(raised.value)


async def test_a_round_holds_the_state_directory_and_remembers_its_flush(tmp_path: Path) -> None:
    await once.push(loaded({}, str(tmp_path)), {})
    remembered = json.loads((tmp_path / "state.json").read_text())["last_flush_ms"]
    held = StateDir(tmp_path)
    held.open()

    with pytest.raises(TemporaryError, match="in use by process"):
        await once.push(loaded({}, str(tmp_path)), {})
    held.close()

    assert remembered > 0


async def test_a_dry_run_shows_the_text_and_makes_no_directory(tmp_path: Path) -> None:
    chunks: list[bytes] = []

    await once.show(loaded({"dead": DEAD}, str(tmp_path / "state")), {}, chunks.append)

    assert b"cipush_build_info{" in b"".join(chunks)
    assert os.listdir(tmp_path) == []


async def test_a_dry_run_shows_what_the_ledger_holds_and_leaves_it_alone(tmp_path: Path) -> None:
    family = families(Options.model_construct()).workflow_run_total
    shape = Shape("github_workflow_run_total", "counter", family.labels)
    which = SeriesId("github", shape, ("acme/app", "CI", "push", "default", "success"))
    book = Book(tmp_path / LEDGER)
    book.commit(item(counted("k", (which, 41)), source="github"), now=time.time())
    book.ledger.close()
    before, chunks = (tmp_path / LEDGER).read_bytes(), list[bytes]()
    configured = load([], {}, [("agent.state_dir", str(tmp_path)), ("sources.github.webhook.secret", "s")])

    await once.show(configured, {}, chunks.append)

    assert any(line.startswith(b"github_workflow_run_total{") and line.endswith(b" 41") for line in b"".join(chunks).splitlines())
    assert (tmp_path / LEDGER).read_bytes() == before


async def scripted(monkeypatch: pytest.MonkeyPatch, pieces: int) -> bytes:
    """What a dry run shows of a source that tells so many pieces."""
    monkeypatch.setitem(SOURCES, "scripted", "tests.scripted_source")
    chunks: list[bytes] = []
    configured = load([], {}, [("agent.state_dir", "none"), ("sources.s.type", "scripted"), ("sources.s.pieces", str(pieces))])
    await once.show(configured, {}, chunks.append)
    return b"".join(chunks)


async def test_a_source_that_has_more_is_collected_to_its_end_before_what_it_found_is_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shown = await scripted(monkeypatch, 7)

    assert any(line.startswith(b"pieces") and line.endswith(b" 7") for line in shown.splitlines())
    assert not [record for record in caplog.records if record.name == once.__name__]


async def test_a_source_that_does_not_come_to_its_end_in_time_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(once, "MORE_SECONDS", 0.0)
    shown = await scripted(monkeypatch, 7)

    assert any(line.startswith(b"pieces") and line.endswith(b" 1") for line in shown.splitlines())
    assert "source s, poller told: there is more" in caplog.text

"""The folders of queues: locked, versioned, kept when their sinks are gone; and what was refused, kept for a look."""

from __future__ import annotations

import json
import os
from pathlib import Path
from zlib import crc32

import anyio
import pytest

from agent.errors import ConfigError, TemporaryError
from agent.plugin import Policy
from agent.selfmon import SelfMonitor
from agent.spool.folder import OpenQueue, listing, open_queue
from agent.spool.quarantine import Quarantine
from agent.spool.segment import SEGMENT_BYTES, SEGMENT_MAGIC
from tests.spooling import block

URL = "http://127.0.0.1:8428/api/v1/write"


def opened(root: Path, kind: str = "remote_write", url: str = URL) -> OpenQueue:
    return open_queue(root, "vm", kind, url, Policy(), SelfMonitor())


async def put_and_close(root: Path) -> None:
    queue = opened(root)
    queue.queue.put(block(1))
    await queue.aclose()


def test_two_on_one_folder_are_refused_by_name(tmp_path: Path) -> None:
    first = opened(tmp_path)

    with pytest.raises(TemporaryError, match=f"queue .*vm is in use by process {os.getpid()}"):
        opened(tmp_path)
    anyio.run(first.aclose)


def test_a_later_format_is_refused_by_name(tmp_path: Path) -> None:
    anyio.run(put_and_close, tmp_path)
    segment = next((tmp_path / "vm").glob("*.seg"))
    data = bytearray(segment.read_bytes())
    start = len(SEGMENT_MAGIC) + 3
    data[start : start + 4] = (99).to_bytes(4, "little")
    data[SEGMENT_BYTES - 4 : SEGMENT_BYTES] = crc32(bytes(data[: SEGMENT_BYTES - 4])).to_bytes(4, "little")
    segment.write_bytes(data)

    with pytest.raises(ConfigError, match=r"\.seg: format version 99, this cipush reads up to 1"):
        opened(tmp_path)


@pytest.mark.anyio
async def test_another_address_keeps_the_queue(tmp_path: Path) -> None:
    await put_and_close(tmp_path)

    queue = opened(tmp_path, url="http://other/")
    blocks = queue.queue.stats().blocks
    await queue.aclose()

    assert blocks == 1
    assert json.loads((tmp_path / "vm" / "sink.json").read_text())["url"] == "http://other/"


@pytest.mark.anyio
async def test_another_type_sets_the_old_queue_aside(tmp_path: Path) -> None:
    await put_and_close(tmp_path)

    queue = opened(tmp_path, kind="vm_import")
    found = listing(tmp_path, ["vm"])
    await queue.aclose()

    assert [(info.name, info.departed, info.blocks) for info in found] == [
        ("vm", False, 0),
        ("vm.remote_write.1", True, 1),
    ]


def test_the_last_few_refused_blocks_are_kept(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "q", keep=3)
    for number in range(5):
        quarantine.keep(block(number, samples=number), "400", f"bad {number}", 1_700_000_000.0)

    bodies = sorted((tmp_path / "q").glob("*.body"))
    about = [json.loads(body.with_suffix(".json").read_text()) for body in bodies]

    assert [body.read_bytes() for body in bodies] == [block(number).payload for number in (2, 3, 4)]
    assert [(one["code"], one["reason"], one["samples"]) for one in about] == [("400", f"bad {n}", n) for n in (2, 3, 4)]
    assert len(list((tmp_path / "q").iterdir())) == 6


def test_a_quarantine_that_cannot_be_written_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    quarantine = Quarantine(tmp_path / "file")

    for number in range(3):
        quarantine.keep(block(number), "400", "bad", 1.0)

    assert caplog.text.count("refused blocks cannot be kept in") == 1


def test_without_a_folder_nothing_is_kept() -> None:
    Quarantine(None).keep(block(1), "400", "bad", 1.0)

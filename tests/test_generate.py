"""The checked-in wire classes are what the .proto files say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agent.wire import remote_write2_pb2, remote_write_pb2

ROOT = Path(__file__).parent.parent
GENERATED = ("remote_write_pb2.py", "remote_write_pb2.pyi", "remote_write2_pb2.py", "remote_write2_pb2.pyi")


@pytest.fixture(scope="module")
def regenerated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with freshly generated classes."""
    out = tmp_path_factory.mktemp("generated")
    flags = ["-Iagent/wire=proto", f"--python_out={out}", f"--pyi_out={out}"]
    files = ["agent/wire/remote_write.proto", "agent/wire/remote_write2.proto"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *flags, *files], cwd=ROOT, check=True)
    return out / "agent" / "wire"


@pytest.mark.parametrize("name", GENERATED)
def test_the_generated_classes_are_those_of_the_proto_files(regenerated: Path, name: str) -> None:
    assert (regenerated / name).read_bytes() == (ROOT / "agent" / "wire" / name).read_bytes(), "run: make generate"


def test_every_proto_file_has_its_classes_checked_in() -> None:
    stems = {path.stem for path in (ROOT / "proto").glob("*.proto")}

    assert {f"{stem}_pb2{end}" for stem in stems for end in (".py", ".pyi")} == set(GENERATED)


def test_a_zero_is_written_to_the_wire() -> None:
    encoded = remote_write_pb2.Sample(value=0.0, timestamp=1).SerializeToString()

    assert encoded == b"\x09" + bytes(8) + b"\x10\x01"
    assert remote_write2_pb2.Sample(value=0.0, timestamp=1).SerializeToString() == encoded


def test_names_in_the_descriptor_pool_are_our_own() -> None:
    names = {(module.DESCRIPTOR.package, module.DESCRIPTOR.name) for module in (remote_write_pb2, remote_write2_pb2)}

    assert names == {("cipush.wire.v1", "agent/wire/remote_write.proto"), ("cipush.wire.v2", "agent/wire/remote_write2.proto")}

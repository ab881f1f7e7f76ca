"""remote_write, vm_import and stdout: the requests they make, and what they print."""

from __future__ import annotations

import gzip
import io
import logging
import threading
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import anyio
import httpx
import pytest

from agent import plugin
from agent.errors import ConfigError
from agent.model import Accepted, Block, Encoding, Misconfigured, Protocol, Rejected, Retry, Snapshot
from agent.plugin import Context
from agent.sinks import SINKS, pushgateway, remote_write, stdout, vm_import
from tests.lanes import START, block

pytestmark = pytest.mark.anyio

CONTEXT = Context(lambda: START, "job", "me", "cipush/1.2.3")
URL = "http://h:8428/api/v1/write"


class Recorder(httpx.AsyncBaseTransport):
    """Keeps what it is sent and answers with one status."""

    def __init__(self, status: int = 204) -> None:
        self.requests: list[httpx.Request] = []
        self._status = status

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(self._status, stream=httpx.ByteStream(b""))


async def sent(module: ModuleType, given: Block, **options: Any) -> httpx.Request:
    """The one request that a sink makes of a block."""
    recorder = Recorder()
    sink = module.build("vm", module.Options.model_validate({"url": URL, **options}), CONTEXT, recorder)
    assert await sink.send(given) == Accepted("204")
    await sink.aclose()
    (request,) = recorder.requests
    return request


async def test_remote_write_posts_the_block_under_the_headers_of_the_specification() -> None:
    given = block(1, 2)

    request = await sent(remote_write, given)

    assert (request.method, str(request.url), request.content) == ("POST", URL, given.payload)
    assert {name: request.headers[name] for name in ("content-encoding", "content-type", "user-agent")} == {
        "content-encoding": "snappy",
        "content-type": "application/x-protobuf",
        "user-agent": "cipush/1.2.3",
    }
    assert request.headers["x-prometheus-remote-write-version"] == "0.1.0"


async def test_vm_import_posts_gzipped_lines() -> None:
    given = Block(gzip.compress(b"{}\n"), Protocol.IMPORT, Encoding.GZIP, 1, 0, 0.0)

    request = await sent(vm_import, given)

    assert (request.method, request.headers["content-encoding"], request.content) == ("POST", "gzip", given.payload)
    assert request.headers["content-type"] == "application/json"


async def test_an_uncompressed_block_says_nothing_of_compression() -> None:
    request = await sent(vm_import, Block(b"{}\n", Protocol.IMPORT, Encoding.IDENTITY, 1, 0, 0.0))

    assert "content-encoding" not in request.headers


@pytest.mark.parametrize(
    ("options", "header", "value"),
    [
        ({"headers": {"X-Scope-OrgID": "team"}}, "x-scope-orgid", "team"),
        ({"bearer_token": "abc123"}, "authorization", "Bearer abc123"),
        ({"basic_auth": {"username": "u", "password": "p"}}, "authorization", "Basic dTpw"),
        ({"url": "http://u:p@h/w"}, "authorization", "Basic dTpw"),
        ({"url": "http://u%40x:p%2Fq@h/w"}, "authorization", "Basic dUB4OnAvcQ=="),
        ({"headers": {"Authorization": "Custom x"}}, "authorization", "Custom x"),
    ],
)
async def test_configured_headers_and_credentials_are_sent(options: dict[str, Any], header: str, value: str) -> None:
    request = await sent(remote_write, block(1), **options)

    assert request.headers[header] == value


async def test_a_token_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file, recorder = tmp_path / "token", Recorder()
    file.write_text("first\n")
    options = remote_write.Options.model_validate({"url": URL, "bearer_token_file": str(file)})
    sink = remote_write.build("vm", options, CONTEXT, recorder)

    await sink.send(block(1))
    file.write_text("second!\n")
    await sink.send(block(1))
    file.unlink()
    await sink.send(block(1))

    tokens = [request.headers["authorization"] for request in recorder.requests]
    assert tokens == ["Bearer first", "Bearer second!", "Bearer second!"]


async def test_a_password_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p\n")

    request = await sent(remote_write, block(1), basic_auth={"username": "u", "password_file": str(tmp_path / "password")})

    assert request.headers["authorization"] == "Basic dTpw"


@pytest.mark.parametrize("content", [None, b"", b"two\nlines", b"\xff\xfe", b"x" * 100_000])
def test_a_credential_file_that_cannot_be_used_names_key_and_file(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    options = remote_write.Options.model_validate({"url": URL, "bearer_token_file": str(file)})

    with pytest.raises(ConfigError) as caught:
        remote_write.build("vm", options, CONTEXT)

    (problem,) = caught.value.problems
    assert problem.startswith(f"sinks.vm.bearer_token_file: cannot read {file}: ")


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_used_names_key_and_file(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    options = remote_write.Options.model_validate({"url": "https://h/w", "tls": {"ca_file": str(file)}})

    with pytest.raises(ConfigError, match=r"sinks\.vm\.tls\.ca_file: cannot use .*ca\.pem"):
        remote_write.build("vm", options, CONTEXT)


async def test_strict_spec_rejects_what_would_be_retried() -> None:
    options = remote_write.Options.model_validate({"url": URL, "strict_spec": True})

    found = await remote_write.build("vm", options, CONTEXT, Recorder(408)).send(block(1))

    assert isinstance(found, Rejected)


@pytest.mark.parametrize("secret", ["user", "hunter22", "key=abc"])
def test_what_a_sink_shows_of_its_url_has_no_secret(secret: str) -> None:
    options = remote_write.Options.model_validate({"url": "http://user:hunter22@h:1/w?key=abc"})
    sink = remote_write.build("vm", options, CONTEXT, Recorder())

    assert secret not in sink.url


async def test_requests_leave_no_url_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    await sent(remote_write, block(1))

    assert not [record for record in caplog.records if "h:8428" in record.getMessage()]


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({}, 0),
        ({"receiver": "prometheus"}, 3600),
        ({"receiver": "victoriametrics"}, 0),
        ({"receiver": "prometheus", "max_sample_age_seconds": 0}, 0),
        ({"max_sample_age_seconds": 60}, 60),
    ],
)
def test_the_receiver_decides_the_age_limit_unless_one_is_set(options: dict[str, Any], seconds: float) -> None:
    policy = remote_write.policy(remote_write.Options.model_validate({"url": URL, **options}))

    assert policy.max_sample_age_seconds == seconds


def test_options_reach_the_policy() -> None:
    options = {"url": URL, "timeout_seconds": 5, "max_retry_age_seconds": 7, "queue": {"max_bytes": 2 << 20}}

    policy = vm_import.policy(vm_import.Options.model_validate(options))

    assert (policy.timeout_seconds, policy.max_sample_age_seconds, policy.max_retry_age_seconds) == (5, 0, 7)
    assert (policy.queue_max_bytes, policy.fsync, policy.rate_limit_bytes_per_second) == (2 << 20, plugin.Fsync.INTERVAL, 0)


@pytest.mark.parametrize(
    ("options", "forms", "in_flight"),
    [
        ({}, (remote_write.PLAIN,), 1),
        ({"receiver": "prometheus"}, (remote_write.PLAIN,), 1),
        ({"receiver": "victoriametrics"}, (remote_write.ZSTD, remote_write.PLAIN), 4),
        ({"protocol": "v2"}, (remote_write.V2, remote_write.PLAIN), 1),
        ({"protocol": "v2", "receiver": "victoriametrics"}, (remote_write.V2, remote_write.PLAIN), 4),
    ],
)
def test_the_receiver_decides_what_it_is_sent_and_how(options: dict[str, Any], forms: object, in_flight: int) -> None:
    policy = remote_write.policy(remote_write.Options.model_validate({"url": URL, **options}))

    assert (policy.forms, policy.max_in_flight, policy.fresh_first) == (forms, in_flight, in_flight > 1)


def test_native_histograms_need_the_protocol_that_has_them() -> None:
    with pytest.raises(ValueError, match="native_histograms needs protocol: v2"):
        remote_write.Options.model_validate({"url": URL, "native_histograms": True})


@pytest.mark.parametrize("kind", SINKS)
def test_every_sink_module_says_what_the_core_needs(kind: str) -> None:
    module = plugin.load(SINKS, kind)

    assert isinstance(module.PROTOCOL, Protocol)
    assert isinstance(module.ENCODING, Encoding)
    assert isinstance(module.STATE, bool)
    assert issubclass(module.Options, plugin.SinkOptions)
    assert callable(module.build)
    assert callable(module.policy)


def stdout_sink(stream: BinaryIO) -> stdout.StdoutSink:
    return stdout.build("out", stdout.Options.model_validate({}), CONTEXT, stream)


STATE = Snapshot(((("job", "a\nb"), b"x 1\n"), (("other", "c"), b"y 2")), 2, 0, 0.0)


async def test_stdout_prints_every_group_under_its_name() -> None:
    stream = io.BytesIO()

    assert await stdout_sink(stream).send(STATE) == Accepted("written")
    assert stream.getvalue() == b"# job='job' instance='a\\nb'\nx 1\n# job='other' instance='c'\ny 2\n"


async def test_a_closed_stdout_is_misconfigured() -> None:
    stream = io.BytesIO()
    stream.close()

    assert isinstance(await stdout_sink(stream).send(STATE), Misconfigured)


class Stuck(io.BytesIO):
    """A pipe whose reader does not read until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def write(self, data: Any) -> int:
        self.go.wait()
        return super().write(data)


async def test_a_reader_that_does_not_read_stops_no_loop_and_gets_one_writer() -> None:
    stream = Stuck()
    sink = stdout_sink(stream)
    with anyio.move_on_after(0.01):
        await sink.send(STATE)

    found = await sink.send(STATE)
    stream.go.set()

    assert isinstance(found, Retry)


def test_a_pushgateway_policy_has_its_timeout() -> None:
    options = pushgateway.Options.model_validate({"url": "http://h:9091", "timeout_seconds": 3})

    assert pushgateway.policy(options).timeout_seconds == 3

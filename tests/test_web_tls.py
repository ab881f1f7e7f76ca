"""TLS of the listener, with certificates made for the test by the `openssl` command."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from agent.errors import ConfigError
from agent.web.server import name_of, serve
from agent.web.tls import server_context
from tests.listening import Hello, Served, serving

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command to make certificates with"),
]

PASSPHRASE = "a passphrase"
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, PEM files."""

    cert: str
    key: str


@dataclass(frozen=True)
class Papers:
    """What a client and a server show each other."""

    ca: str
    server: Pair
    client: Pair
    stranger: Pair
    """Signed by nobody that the server knows."""
    locked: Pair
    """Its key needs a passphrase."""


def openssl(folder: Path, *argv: str) -> None:
    """Run it, quietly; its words are in the error when it fails."""
    done = subprocess.run(["openssl", *argv], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def self_signed(folder: Path, name: str, *lock: str) -> Pair:
    """A certificate that signs itself; `lock` says how the key is kept."""
    made = ("-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN={name}")
    # Python 3.13 verifies strictly: an authority has to say that it may sign.
    usage = ("-addext", "keyUsage=critical,digitalSignature,keyCertSign")
    openssl(folder, "req", "-x509", *KEY, *(lock or ("-nodes",)), *made, *usage)
    return Pair(str(folder / f"{name}.pem"), str(folder / f"{name}.key"))


def signed(folder: Path, name: str, ca: Pair) -> Pair:
    """A certificate for 127.0.0.1 signed by `ca`."""
    openssl(folder, "req", "-new", *KEY, "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    extensions = "subjectAltName=IP:127.0.0.1\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    (folder / "extensions").write_text(extensions)
    by = ("-CA", ca.cert, "-CAkey", ca.key, "-CAcreateserial", "-extfile", "extensions")
    openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", "-days", "2", *by)
    return Pair(str(folder / f"{name}.pem"), str(folder / f"{name}.key"))


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    """Made once: each key takes a moment."""
    folder = tmp_path_factory.mktemp("tls")
    ca = self_signed(folder, "ca")
    return Papers(
        ca.cert,
        signed(folder, "server", ca),
        signed(folder, "client", ca),
        self_signed(folder, "stranger"),
        self_signed(folder, "locked", "-passout", f"pass:{PASSPHRASE}"),
    )


async def ask(served: Served, papers: Papers, shown: Pair | None = None) -> httpx.Response:
    """GET / as a client that trusts the test's authority and shows `shown`."""
    context = ssl.create_default_context(cafile=papers.ca)
    if shown is not None:
        context.load_cert_chain(shown.cert, shown.key)
    async with httpx.AsyncClient(verify=context, trust_env=False) as client:
        return await client.get(f"https://{served.address}/")


async def test_the_listener_speaks_tls(papers: Papers) -> None:
    async with serving(Hello(), tls_cert_file=papers.server.cert, tls_key_file=papers.server.key) as served:
        assert (await ask(served, papers)).text == "hello"


async def test_who_speaks_plain_http_to_it_learns_nothing(papers: Papers) -> None:
    app = Hello()
    async with serving(app, tls_cert_file=papers.server.cert, tls_key_file=papers.server.key) as served:
        reply = await served.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    assert b"hello" not in reply
    assert app.requests == 0


async def test_a_known_client_is_let_in(papers: Papers) -> None:
    pair = papers.server
    async with serving(Hello(), tls_cert_file=pair.cert, tls_key_file=pair.key, client_ca_file=papers.ca) as served:
        assert (await ask(served, papers, papers.client)).text == "hello"


@pytest.mark.parametrize("shown", ["nothing", "a stranger's"])
async def test_an_unknown_client_is_not_let_in(papers: Papers, shown: str) -> None:
    app, pair = Hello(), papers.server
    async with serving(app, tls_cert_file=pair.cert, tls_key_file=pair.key, client_ca_file=papers.ca) as served:
        with pytest.raises(httpx.TransportError):
            await ask(served, papers, None if shown == "nothing" else papers.stranger)

    assert app.requests == 0


async def test_old_protocols_are_refused(papers: Papers) -> None:
    context = server_context(papers.server.cert, papers.server.key, "")

    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_without_a_certificate_there_is_no_tls() -> None:
    assert server_context("", "", "") is None


@pytest.mark.parametrize(("key", "ca"), [("key.pem", ""), ("", "ca.pem")])
def test_a_promise_without_a_certificate_is_refused(key: str, ca: str) -> None:
    with pytest.raises(ConfigError, match=r"^server\.tls_cert_file: missing"):
        server_context("", key, ca)


@pytest.mark.parametrize("fault", ["missing", "garbage", "another's key", "locked", "nul"])
def test_a_certificate_that_cannot_be_used_is_named(papers: Papers, fault: str, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    cert, key = {
        "missing": ("/no/such/file.pem", papers.server.key),
        "garbage": (str(garbage), papers.server.key),
        "another's key": (papers.server.cert, papers.client.key),
        "locked": (papers.locked.cert, papers.locked.key),
        "nul": ("a\0b", papers.server.key),
    }[fault]

    with pytest.raises(ConfigError) as caught:
        server_context(cert, key, "")

    (problem,) = caught.value.problems
    assert problem.startswith(f"server.tls_cert_file, server.tls_key_file: {cert}, {key}: ")
    assert problem.endswith("give readable PEM files that belong together, the key unencrypted")


def test_nobody_is_asked_for_a_passphrase(papers: Papers) -> None:
    code = f"from agent.web.tls import server_context; server_context({papers.locked.cert!r}, {papers.locked.key!r}, '')"
    # In a session of its own there is no terminal, and OpenSSL would ask on standard input.
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=f"{PASSPHRASE}\n",
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert "ConfigError" in done.stderr
    assert "pass phrase" not in done.stderr


def test_an_authority_that_cannot_be_read_is_named(papers: Papers) -> None:
    with pytest.raises(ConfigError, match=r"^server\.client_ca_file: /no/such/ca\.pem: No such file or directory"):
        server_context(papers.server.cert, papers.server.key, "/no/such/ca.pem")


async def test_a_bad_certificate_is_found_before_the_port_is_asked_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError):
        await serve(Hello(), name_of(taken), tls_cert_file="/no/such/file.pem", tls_key_file="/no/such/file.pem")

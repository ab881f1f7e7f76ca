"""Tokens out of files, and GitHub Apps: their own token, and one for each installation."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import anyio
import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from trio.testing import MockClock

from agent.errors import CollectError, ConfigError
from agent.secret import redact
from agent.sources.github.api import Api, connect
from agent.sources.github.options import Options
from tests.github_api import GitHub, Repository, api, clock, context, moment

pytestmark = pytest.mark.anyio

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
).decode()
LIFE = 3600.0


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


class Installed(httpx.AsyncBaseTransport):
    """A GitHub that knows one App, and hands out tokens that end."""

    def __init__(self, **owners: int) -> None:
        self.owners = owners
        self.suspended: set[str] = set()
        self.tokens: dict[str, tuple[int, float]] = {}
        self.made = 0
        self.listed = 0
        self.asked: list[tuple[str, int | str]] = []
        """What was asked for, and by which installation."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await anyio.sleep(0.01)
        status, data = self._answer(request.method, request.url.path, request.headers.get("authorization", "")[7:])
        return httpx.Response(status, stream=httpx.ByteStream(json.dumps(data).encode()))

    def _answer(self, method: str, path: str, token: str) -> tuple[int, Any]:
        if path.startswith("/app"):
            claims = jwt.decode(token, KEY.public_key(), algorithms=["RS256"], options={"verify_exp": False, "verify_iat": False})
            now = clock()
            if claims["iss"] != "Iv1.test" or not now - 120 <= claims["iat"] <= now < claims["exp"] <= now + 600:
                return 401, {"message": "bad claims"}
            if path == "/app/installations":
                self.listed += 1
                return 200, [
                    {"id": number, "account": {"login": owner}, "suspended_at": "x" if owner in self.suspended else None}
                    for owner, number in self.owners.items()
                ]
            if method == "POST" and int(path.split("/")[3]) not in self.owners.values():
                return 404, {"message": "Not Found"}
            if method == "POST":
                self.made += 1
                fresh = f"ghs_{self.made}_abc.def-{'x' * 300}"
                self.tokens[fresh] = (int(path.split("/")[3]), clock() + LIFE)
                return 201, {"token": fresh, "expires_at": moment(clock() + LIFE)}
            self.asked.append((path, "app"))
            return 200, []
        number, until = self.tokens.get(token, (0, 0.0))
        if not number or clock() >= until:
            return 401, {"message": "Bad credentials"}
        self.asked.append((path, number))
        return 200, {"id": 1}


def app(github: httpx.AsyncBaseTransport, **keys: Any) -> Api:
    """A client of an App."""
    options = Options.model_validate({"app": {"client_id": "Iv1.test", "private_key": PEM, **keys}})
    return connect("sources.github", options, context(), github)


async def test_each_owner_is_asked_as_its_installation() -> None:
    github = Installed(Acme=11, anna=12)
    client = app(github)

    await client.get("/repos/acme/shop")
    await client.get("/users/anna/repos")
    await client.get("/app/hook/deliveries")

    assert github.asked == [("/repos/acme/shop", 11), ("/users/anna/repos", 12), ("/app/hook/deliveries", "app")]


async def test_one_installation_can_be_named() -> None:
    github = Installed(acme=11, anna=12)

    await app(github, installation_id=12).get("/repos/acme/shop")

    assert github.asked == [("/repos/acme/shop", 12)]
    assert github.listed == 0


async def test_a_token_is_used_until_ten_minutes_before_its_end() -> None:
    github = Installed(acme=11)
    client = app(github)
    for _ in range(29):
        await client.get("/repos/acme/shop")
        await anyio.sleep(100)
    made_early = github.made
    for _ in range(3):
        await client.get("/repos/acme/shop")
        await anyio.sleep(100)

    assert (made_early, github.made) == (1, 2)


async def test_a_token_that_is_not_taken_is_replaced_at_once() -> None:
    github = Installed(acme=11)
    client = app(github)
    await client.get("/repos/acme/shop")
    github.tokens.clear()

    await client.get("/repos/acme/shop")

    assert github.made == 2
    assert len(github.asked) == 2


async def test_many_requests_at_once_take_one_token() -> None:
    github = Installed(acme=11)
    client = app(github)

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(client.get, "/repos/acme/shop")

    assert (github.made, github.listed) == (1, 1)


async def test_where_it_is_not_installed_the_error_says_so_and_nobody_is_asked_again_and_again() -> None:
    github = Installed(acme=11)
    client = app(github)

    for _ in range(5):
        with pytest.raises(CollectError, match="not installed for other") as caught:
            await client.get("/repos/other/shop")

    assert caught.value.kind == "auth"
    assert github.listed == 1


async def test_a_new_installation_is_found_within_minutes() -> None:
    github = Installed(acme=11)
    client = app(github)
    await client.get("/repos/acme/shop")
    github.owners["other"] = 13
    await anyio.sleep(301)

    await client.get("/repos/other/shop")

    assert github.asked[-1] == ("/repos/other/shop", 13)


async def test_an_app_that_is_installed_anew_is_asked_under_its_new_number() -> None:
    github = Installed(acme=11)
    client = app(github)
    await client.get("/repos/acme/shop")
    github.owners["acme"] = 14
    github.tokens.clear()
    with pytest.raises(CollectError):
        await client.get("/repos/acme/shop")
    await anyio.sleep(301)

    await client.get("/repos/acme/shop")

    assert github.asked[-1] == ("/repos/acme/shop", 14)


async def test_a_suspended_installation_is_left_out() -> None:
    github = Installed(acme=11, anna=12)
    github.suspended.add("anna")

    assert await app(github).owners() == ("acme",)


async def test_tokens_are_known_to_the_redaction() -> None:
    github = Installed(acme=11)
    await app(github).get("/repos/acme/shop")
    [token] = github.tokens

    assert token not in redact(f"a library quotes {token} whole")


async def test_a_refused_app_is_an_error_that_says_what_to_check() -> None:
    github = Installed(acme=11)
    options = Options.model_validate({"app": {"client_id": "another", "private_key": PEM}})
    client = connect("sources.github", options, context(), github)

    with pytest.raises(CollectError, match="check client_id, private_key") as caught:
        await client.get("/repos/acme/shop")

    assert caught.value.kind == "auth"
    assert "BEGIN" not in str(caught.value)


async def test_a_key_out_of_a_file_signs_too(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text(PEM)
    file = str(tmp_path / "key.pem")
    options = Options.model_validate({"app": {"client_id": "Iv1.test", "private_key_file": file}})

    assert connect("sources.github", options, context(), Installed()).is_app


@pytest.mark.parametrize("text", ["no key", PEM[:400], "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
async def test_a_key_that_is_none_is_a_configuration_error_that_does_not_quote_it(text: str) -> None:
    with pytest.raises(ConfigError, match=r"sources\.github\.app: the private key is not an RSA key") as caught:
        app(Installed(), private_key=text)

    assert text[:12] not in str(caught.value)


def test_a_missing_key_file_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="private_key_file: cannot read"):
        app(Installed(), private_key="", private_key_file=str(tmp_path / "none.pem"))


async def test_without_the_extra_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)

    with pytest.raises(ConfigError, match=r"pip install 'cipush\[github-app\]'"):
        app(Installed())


async def test_a_token_file_is_read_again_when_it_is_not_taken(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("the-first-token\n")
    github = GitHub(Repository(1, "acme/shop"))
    github.token = "Bearer the-first-token"
    client = api(github, token="", token_file=str(file))
    await client.get("/repos/acme/shop")

    github.token = "Bearer the-second-token"
    file.write_text("the-second-token\n")

    assert (await client.get("/repos/acme/shop")).status == 200


def test_a_missing_token_file_is_a_configuration_error_under_its_own_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sources\.github\.token_file: cannot read"):
        api(GitHub(), token="", token_file=str(tmp_path / "none"))

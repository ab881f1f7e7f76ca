"""The token: what is shown to whom."""

from __future__ import annotations

import pytest

from tests.website import PATHS, TOKEN, Site

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("path", [path for path in PATHS if path not in ("/health", "/ready")] + ["/nothing"])
async def test_with_a_token_nothing_is_shown_without_it(path: str) -> None:
    site = Site(TOKEN)
    answer = await site.ask("POST" if path == "/-/reload" else "GET", path)

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.text == "send server.auth_token in the Authorization header, type Bearer\n"
    assert site.agent.asked == []


@pytest.mark.parametrize("path", ["/health", "/ready"])
async def test_probes_need_no_token(path: str) -> None:
    assert (await Site(TOKEN).get(path)).status_code == 200


async def test_without_the_token_ready_gives_no_reasons() -> None:
    site = Site(TOKEN)
    site.agent.is_ready = False
    answer = await site.get("/ready")

    assert (answer.status_code, answer.json()) == (503, {"status": "stopping"})


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_token_opens_everything(scheme: str) -> None:
    answer = await Site(TOKEN).ask("GET", "/ready", [(b"authorization", f"{scheme} {TOKEN}".encode())])

    assert answer.json()["degraded"] == ["sink vm: retrying"]


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"Bearer",
        b"Bearer ",
        TOKEN.encode(),
        b"Basic " + TOKEN.encode(),
        b"Bearer " + TOKEN.encode() + b"x",
        b"Bearer \xff\x00",
    ],
)
async def test_what_is_not_the_token_opens_nothing(given: bytes) -> None:
    assert (await Site(TOKEN).ask("GET", "/metrics", [(b"authorization", given)])).status_code == 401

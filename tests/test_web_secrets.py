"""A secret that a library quoted somewhere is in no answer."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from agent.secret import Secret
from tests.website import FakeAgent, Site

pytestmark = pytest.mark.anyio

SECRET = 'pw<&>"\\/s3cr3t'
"""With every character that JSON, HTML and URLs write differently."""


class Leaking(FakeAgent):
    """Has the secret in everything that it says."""

    def ready(self) -> tuple[bool, dict[str, object]]:
        return True, {"status": "degraded", "degraded": [SECRET]}

    def status(self) -> dict[str, Any]:
        return {**super().status(), "degraded": [f"sink vm: {SECRET}"], "store": {"what": SECRET}}

    def series(self, match: str, limit: int) -> list[dict[str, object]]:
        if match:
            raise ValueError(SECRET)
        return [{"name": "up", "labels": {"token": SECRET}}]

    def explain(self, name: str) -> dict[str, object]:
        return {"name": name, "why": SECRET}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/ready"),
        ("GET", "/config"),
        ("GET", "/api/status"),
        ("GET", "/api/series"),
        ("GET", "/api/series?match=x"),
        ("GET", f"/api/series?limit={quote(SECRET, safe='')}"),
        ("GET", "/api/explain?name=x"),
        ("GET", f"/metrics?source={quote(SECRET, safe='')}"),
        ("POST", "/-/reload"),
    ],
)
async def test_a_secret_stands_in_no_body(method: str, path: str) -> None:
    Secret(SECRET)
    agent = Leaking()
    agent.config, agent.problem = f"token: {SECRET}", f"refused: {SECRET}"

    answer = await Site(agent=agent).ask(method, path)

    assert "s3cr3t" not in answer.text
    assert "****" in answer.text

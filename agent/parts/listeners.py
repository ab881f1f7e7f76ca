"""The agent's listeners: one for everything, and where it is configured one for webhooks alone."""

from __future__ import annotations

import anyio
from anyio.abc import TaskGroup, TaskStatus

from agent.config.model import ServerSection
from agent.web import server
from agent.web.webhook import is_webhook, make_webhook_app


class Listeners:
    """From start to end of both."""

    def __init__(self, section: ServerSection, app: server.App, webhooks: server.App) -> None:
        self._section = section
        self._apps = [(section.listen_address, app)]
        if section.webhook_listen_address:
            self._apps.append((section.webhook_listen_address, make_webhook_app(webhooks)))
        self._serving: list[tuple[anyio.CancelScope, anyio.Event]] = []
        self.addresses: list[str] = []
        """`host:port` as bound: the main listener's, then that of webhooks."""

    async def start(self, tasks: TaskGroup) -> None:
        """Listen in `tasks` from now on. Raises StartError for an address that cannot be had."""
        for address, app in self._apps:
            self.addresses.append(await tasks.start(self._serve, address, app))

    async def end(self) -> None:
        """Accept nothing more, and answer what is in flight."""
        for scope, _ in self._serving:
            scope.cancel()
        for _, ended in self._serving:
            await ended.wait()

    async def _serve(self, address: str, app: server.App, *, task_status: TaskStatus[str]) -> None:
        scope, ended = anyio.CancelScope(), anyio.Event()
        self._serving.append((scope, ended))
        with scope:
            await server.serve(
                app,
                address,
                tls_cert_file=self._section.tls_cert_file,
                tls_key_file=self._section.tls_key_file,
                client_ca_file=self._section.client_ca_file,
                bounds_itself=is_webhook,
                task_status=task_status,
            )
        ended.set()

"""`--push URL`: which sink a bare address means, told from the address alone."""

from __future__ import annotations

import re
from hashlib import sha256
from urllib.parse import SplitResult, urlsplit

_REMOTE_WRITE = ("/api/v1/write", "/api/v1/push", "/api/prom/push", "/api/v1/receive")
"""Where Prometheus and VictoriaMetrics, Mimir, Cortex, and Thanos take remote-write (their documentation)."""
_PUSHGATEWAY_PORT = 9091


def sink(url: str) -> tuple[str, dict[str, str]]:
    """(name, section) of the sink at `url`. Raises ValueError with what to write instead."""
    parts, port = _split(url)
    path = parts.path.rstrip("/")
    name = re.sub(r"[^a-z0-9]", "-", f"push-{(parts.hostname or '').lower()}-{port}-")
    name += sha256((parts.path + ("?" + parts.query if parts.query else "")).encode()).hexdigest()[:8]
    if path.endswith(_REMOTE_WRITE):
        return name, {"type": "remote_write", "url": url}
    if path.endswith("/api/v1/import"):
        return name, {"type": "vm_import", "url": url}
    if port == _PUSHGATEWAY_PORT or "/metrics/job" in path:
        return name, {"type": "pushgateway", "url": url}
    return name, {
        "type": "remote_write",
        "url": parts._replace(path=path + "/api/v1/write").geturl(),
        "receiver": "victoriametrics",
    }


def _split(url: str) -> tuple[SplitResult, int]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL; write it like http://127.0.0.1:8428") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is not an http:// or https:// URL; write it like http://127.0.0.1:8428")
    return parts, port if port is not None else {"http": 80, "https": 443}[parts.scheme]

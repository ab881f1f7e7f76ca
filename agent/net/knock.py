"""Whether anybody is there: a connection that is opened and closed again."""

from __future__ import annotations

import anyio


async def opens(host: str, port: int) -> bool:
    """Whether a TCP connection can be opened; the time it takes is the caller's. Raises nothing for what the network does."""
    try:
        stream = await anyio.connect_tcp(host, port)
    except (OSError, UnicodeError):  # a name that no resolver can be asked for
        return False
    await stream.aclose()
    return True

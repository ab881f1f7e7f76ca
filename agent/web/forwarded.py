"""Whose request it is where a reverse proxy stands in front: X-Forwarded-For, believed from trusted proxies only."""

from __future__ import annotations

import re

from agent.net.networks import Networks, address_of

MAX_HOPS = 50
"""Hops that are walked back; a chain of more trusted proxies than this is a forgery."""

_WITH_PORT = re.compile(r"\[(?P<v6>[^\]]*)\](?::\d*)?|(?P<v4>[0-9.]+):\d*")
"""Some proxies add the port: `192.0.2.1:4711`, `[2001:db8::1]:4711`."""


def client_address(peer: str, forwarded: str, trusted: Networks) -> str:
    """The address of the client, from the connection's `peer` and the value of X-Forwarded-For.

    Every proxy adds the one it heard from at the right end, so the first from there that is not a trusted proxy is the
    client, and what stands left of it may be made up. "" = it cannot be told: that hop is no address. Where every hop
    is a trusted proxy, the left-most.
    """
    if not forwarded or peer not in trusted:
        return peer
    client = peer
    for hop in reversed(forwarded.rsplit(",", MAX_HOPS)[-MAX_HOPS:]):
        address = _address(hop.strip())
        if not address:
            return ""
        client = address
        if client not in trusted:
            return client
    return client if forwarded.count(",") < MAX_HOPS else ""


def _address(hop: str) -> str:
    found = _WITH_PORT.fullmatch(hop)
    address = address_of((found["v6"] or found["v4"] or "") if found else hop)
    return "" if address is None else str(address)

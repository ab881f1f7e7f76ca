"""IP networks: whether an address lies in one of several."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

Address = IPv4Address | IPv6Address

MAX_TEXT = 100
"""Characters of the longest text that is tried as an address; an IPv6 one with its zone has fewer."""


class Networks:
    """A set of networks. Asked with texts, since addresses come as such; what is no address lies in none of them."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        """Of CIDRs such as `192.0.2.0/24`. Raises ValueError for one that is none, or has host bits set."""
        self._networks = tuple(ip_network(network) for network in networks)

    def __contains__(self, address: str) -> bool:
        found = address_of(address)
        return found is not None and any(found in network for network in self._networks)

    def __bool__(self) -> bool:
        return bool(self._networks)


def address_of(text: str) -> Address | None:
    """The address that `text` is; None = it is none. IPv4 in IPv6 clothes, as dual-stack listeners show it, is IPv4."""
    if len(text) > MAX_TEXT:
        return None
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found

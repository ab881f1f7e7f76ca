"""X-Forwarded-For: whom it names, and whose word it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.net.networks import Networks
from agent.web.forwarded import MAX_HOPS, client_address

TRUSTED = Networks(["10.0.0.0/8", "2001:db8::/32"])


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("", "10.0.0.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1, 198.51.100.1", "198.51.100.1"),
        ("192.0.2.1,10.0.0.2 ,  10.0.0.3", "192.0.2.1"),
        ("evil, 192.0.2.1, 10.0.0.2", "192.0.2.1"),
        ("10.0.0.9, 10.0.0.2", "10.0.0.9"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("2001:db9::1", "2001:db9::1"),
        ("[2001:db9::1]:443, 2001:db8::7", "2001:db9::1"),
        ("[2001:db9::1]", "2001:db9::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("unknown", ""),
        ("192.0.2.1, unknown", ""),
        ("192.0.2.1, ", ""),
        ("192.0.2.1, _hidden, 10.0.0.2", ""),
        ("192.0.2.300", ""),
        (",", ""),
    ],
)
def test_the_client_is_the_right_most_that_is_no_trusted_proxy(forwarded: str, client: str) -> None:
    assert client_address("10.0.0.1", forwarded, TRUSTED) == client


@pytest.mark.parametrize("trusted", [TRUSTED, Networks()])
def test_who_is_no_trusted_proxy_speaks_for_himself(trusted: Networks) -> None:
    assert client_address("192.0.2.9", "198.51.100.1", trusted) == "192.0.2.9"


def test_a_proxy_on_a_dual_stack_listener_is_known() -> None:
    assert client_address("::ffff:10.0.0.1", "192.0.2.1", TRUSTED) == "192.0.2.1"


def test_a_chain_of_proxies_has_an_end() -> None:
    assert client_address("10.0.0.1", "192.0.2.1" + ", 10.0.0.2" * (MAX_HOPS - 1), TRUSTED) == "192.0.2.1"
    assert client_address("10.0.0.1", "192.0.2.1" + ", 10.0.0.2" * 5000, TRUSTED) == ""


@given(st.text(alphabet="0123456789.:[], abcfunknow%", max_size=80))
def test_anything_is_an_address_or_nothing(forwarded: str) -> None:
    client = client_address("10.0.0.1", forwarded, TRUSTED)

    assert client in ("", "10.0.0.1") or client in Networks(["0.0.0.0/0", "::/0"])


@given(st.lists(st.ip_addresses().map(str), max_size=5), st.ip_addresses(v=4).map(str))
def test_nothing_that_a_client_sends_himself_matters(made_up: list[str], client: str) -> None:
    expected = client_address("10.0.0.1", client, TRUSTED)
    if expected not in TRUSTED:
        assert client_address("10.0.0.1", ", ".join([*made_up, client, "10.1.1.1"]), TRUSTED) == expected

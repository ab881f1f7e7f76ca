"""What the configuration says of an instance: its address, certificates and token; wrong ones are named."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from pydantic import ValidationError

from agent.errors import ConfigError
from agent.sources.gitlab.api import base_of, connect
from agent.sources.gitlab.options import Options
from tests.gitlab_api import context


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("https://gitlab.com/api/v4", "https://gitlab.com"),
        ("https://gitlab.com/api/v4/", "https://gitlab.com"),
        ("https://example.com/gitlab/api/graphql", "https://example.com/gitlab"),
        ("https://me:pw@gitlab.com", "https://gitlab.com"),
        ("https://gitlab.com?private_token=glpat-secret", "https://gitlab.com"),
    ],
)
def test_an_address_that_is_none_is_named_with_the_right_one(url: str, right: str) -> None:
    with pytest.raises(ConfigError, match=f"use {right}$") as caught:
        base_of("sources.gitlab", url)

    assert "pw" not in str(caught.value)
    assert "glpat" not in str(caught.value)


def made(**keys: Any) -> None:
    connect("sources.work", Options.model_validate({"url": "https://gitlab.example.com", **keys}), context())


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"enable_tls_verify": False, "tls": {"insecure_skip_verify": False}}, "contradict"),
        ({"enable_tls_verify": True, "tls": {"insecure_skip_verify": True}}, "contradict"),
        ({"ca_cert_path": "/a.pem", "tls": {"ca_file": "/b.pem"}}, "ca_cert_path and tls.ca_file are both set"),
        ({"ca_cert_path": "/nowhere.pem"}, r"sources\.work\.ca_cert_path: .*/nowhere\.pem"),
        ({"tls": {"ca_file": "/nowhere.pem"}}, r"sources\.work\.tls\.ca_file: .*/nowhere\.pem"),
        ({"enable_tls_verify": False, "url": "http://gitlab.example.com"}, "does nothing without https"),
        ({"ca_cert_path": "/a.pem", "url": "http://gitlab.example.com"}, "does nothing without https"),
        ({"token_file": "/nowhere"}, "sources.work.token_file"),
    ],
)
def test_keys_that_contradict_each_other_or_do_nothing_are_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        made(**keys)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"wildcards": [{"search": "ab"}]}, "at least 3 characters"),
        ({"wildcards": [{"owner": {"name": "harbour/"}}]}, "without / at its beginning or end"),
        ({"wildcards": [{"owner": {"name": "/harbour"}}]}, "without / at its beginning or end"),
        ({"wildcards": [{"owner": {"name": "https://gitlab.com/harbour"}}]}, "is an address"),
        ({"wildcards": [{"owner": {"kind": "user"}}]}, "kind user takes a name"),
        ({"projects": [{"name": "https://gitlab.com/harbour/cranes"}]}, "is an address"),
        ({"projects": [{"name": "harbour/cranes/"}]}, "without / at its beginning or end"),
        ({"projects": [{"name": "harbour//cranes"}]}, "no full path"),
        ({"projects": [{"name": "cranes"}]}, "group/project"),
        *[({"token": text}, "token\n.*must be printable ASCII") for text in ("glpat-ü", "glpat-x\n", " glpat-x", "glpat\0x")],
        ({"max_gap_seconds": 30 * 86400 + 1}, "less than or equal to 2592000"),
    ],
)
def test_names_and_numbers_that_cannot_be_meant_so_are_refused_with_what_to_write(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Options.model_validate({"token": "a", **keys})


@pytest.mark.parametrize(
    "entry", [{}, {"search": ""}, {"search": "abc"}, {"owner": {"name": "a/b"}}, {"owner": {"kind": "group"}}]
)
def test_wildcards_that_mean_something_are_taken(entry: dict[str, Any]) -> None:
    assert Options.model_validate({"token": "a", "wildcards": [entry]}).wildcards


@pytest.mark.parametrize("keys", [{"enable_tls_verify": False}, {"tls": {"insecure_skip_verify": True}}])
def test_that_certificates_are_not_checked_is_warned_about(caplog: pytest.LogCaptureFixture, keys: dict[str, Any]) -> None:
    with caplog.at_level(logging.WARNING):
        made(**keys)

    assert caplog.messages == ["sources.work: certificates are not checked: whoever is in between can read the token"]


@pytest.mark.parametrize("keys", [{}, {"enable_tls_verify": True}])
def test_nothing_is_warned_about_where_they_are(caplog: pytest.LogCaptureFixture, keys: dict[str, Any]) -> None:
    made(**keys)

    assert caplog.messages == []

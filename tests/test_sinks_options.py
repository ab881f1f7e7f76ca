"""What a sink's address, headers and credentials may look like."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent.net.client import RESERVED_HEADERS, TransportOptions
from agent.sinks import pushgateway, remote_write
from agent.sources.github import options as github

URL = "http://h/w"


def refusal(options: dict[str, Any], model: type[TransportOptions] = remote_write.Options) -> str:
    """Why the options are refused."""
    with pytest.raises(ValidationError) as caught:
        model.model_validate(options)
    return "; ".join(error["msg"] for error in caught.value.errors())


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "https://h:8428/api/v1/write?extra_label=a=b",
        "http://127.0.0.1:8428/",
        "http://[::1]:9090/api/v1/write",
        "http://u:p@h/",
        "http://u@h/",
        "http://bücher.example/w",
    ],
)
def test_a_complete_http_address_is_taken(url: str) -> None:
    assert remote_write.Options.model_validate({"url": url})


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "must begin with http://"),
        ("h:8428", "must begin with http://"),
        ("ftp://h/", "must begin with http://"),
        ("HTTP//h", "must begin with http://"),
        ("http://", "not a complete address"),
        ("http:///path", "not a complete address"),
        ("http://h:port/", "not a complete address"),
        ("http://h:0/", "not a complete address"),
        ("http://h:99999/", "not a complete address"),
        ("http://[::1/", "not a complete address"),
        ("http://h/a b", "not a complete address"),
        ("http://h/\x7f", "not a complete address"),
        ("http://h/#top", "must have no fragment"),
        ("http://h/#", "must have no fragment"),
    ],
)
def test_another_address_is_refused_with_what_is_wrong(url: str, words: str) -> None:
    assert words in refusal({"url": url})


@given(st.text(max_size=60))
def test_no_address_raises_anything_but_a_validation_error(text: str) -> None:
    for url in (text, f"http://{text}", f"http://h/{text}", f"http://h:{text}"):
        try:
            remote_write.Options.model_validate({"url": url})
            pushgateway.Options.model_validate({"url": url})
        except ValidationError:
            continue


@pytest.mark.parametrize("name", [*sorted(RESERVED_HEADERS), "User-Agent", "CONTENT-TYPE"])
def test_headers_of_ours_cannot_be_overridden(name: str) -> None:
    assert "is set by cipush itself" in refusal({"url": URL, "headers": {name: "x"}})


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"X Y": "a"}, "not a header name"),
        ({"X\r\nY": "a"}, "not a header name"),
        ({"X": "a\r\nY: b"}, "printable ASCII"),
        ({"X": "ü"}, "printable ASCII"),
        ({"X": 7}, "must be text"),
    ],
)
def test_a_header_that_cannot_be_sent_is_refused(headers: dict[str, Any], words: str) -> None:
    assert words in refusal({"url": URL, "headers": headers})


@pytest.mark.parametrize(
    "options",
    [
        {"url": "http://u:p@h/", "basic_auth": {"username": "u"}},
        {"url": "http://u:p@h/", "bearer_token": "t"},
        {"url": URL, "bearer_token": "t", "bearer_token_file": "f"},
        {"url": URL, "bearer_token": "t", "headers": {"authorization": "x"}},
        {"url": URL, "basic_auth": {"username": "u", "password": "p", "password_file": "f"}},
    ],
)
def test_two_credentials_are_one_too_many(options: dict[str, Any]) -> None:
    assert "keep one" in refusal(options)


def test_a_token_that_no_header_can_carry_is_refused() -> None:
    assert "printable ASCII" in refusal({"url": URL, "bearer_token": "tok\nen"})


def test_a_token_of_github_that_no_header_can_hold_is_refused_by_its_name() -> None:
    with pytest.raises(ValidationError, match=r"token\n.*printable ASCII"):
        github.Options.model_validate({"token": "ghp_ünsinn"})


@pytest.mark.parametrize("secret", ["user-name", "hunter22", "token-123", "header-456"])
def test_no_secret_is_printed_with_the_options(secret: str) -> None:
    with_user = remote_write.Options.model_validate({"url": "http://user-name:hunter22@h/", "headers": {"X-Key": "header-456"}})
    with_token = remote_write.Options.model_validate({"url": URL, "bearer_token": "token-123"})

    shown = f"{with_user.url} {with_user.model_dump_json(exclude={'basic_auth': {'username'}})} {with_token!r}"
    assert secret not in shown


@pytest.mark.parametrize("key", ["proxy", "oauth", "urll"])
def test_a_key_that_does_nothing_is_refused(key: str) -> None:
    assert "Extra inputs" in refusal({"url": URL, key: "x"})


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/metrics/job", "pairs"),
        ("/metrics/job/x/instance", "pairs"),
        ("/metrics/instance/x/job/y", "begin with /job/"),
        ("/metrics/job@base64/=", "begin with /job/"),
        ("/metrics/job/x/__name__/y", "not a label name"),
        ("/metrics/job/x/a.b/y", "not a label name"),
        ("/metrics/job/x/job/y", "twice"),
        ("/metrics/job@base64/!", "not base64"),
        ("/?a=b", "no query"),
    ],
)
def test_a_pushgateway_path_that_is_no_group_is_refused(path: str, words: str) -> None:
    assert words in refusal({"url": f"http://h:9091{path}"}, pushgateway.Options)

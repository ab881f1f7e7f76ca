"""The bodies of deliveries: JSON and forms, and what pretends to be one."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, quote_plus, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import DeliveryError
from agent.sources.github.body import FORM, JSON, MAX_FIELDS, form_text, payload

BYTES = st.binary(max_size=200) | st.text(alphabet="%=+&_ \r\n\t09afAFgG\x00é", max_size=60).map(str.encode)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def refusal(body: bytes, content_type: str = JSON) -> str:
    """Why a body is refused; the status is 400."""
    with pytest.raises(DeliveryError) as caught:
        payload(body, content_type)
    assert caught.value.status == 400
    return str(caught.value)


@given(BYTES)
def test_a_form_s_text_is_what_the_standard_library_reads(value: bytes) -> None:
    assert form_text(value) == unquote_to_bytes(value.replace(b"+", b" "))


@given(BYTES)
def test_what_was_quoted_is_read_again(value: bytes) -> None:
    assert form_text(quote_plus(value).encode()) == value
    assert form_text(quote(value).encode()) == value


@given(st.dictionaries(st.text(), JSON_VALUES, max_size=5))
def test_every_object_is_read_from_json_and_from_a_form(found: dict[str, Any]) -> None:
    body = json.dumps(found, ensure_ascii=False).encode(errors="replace")
    expected = json.loads(body)

    assert payload(body, JSON) == expected
    assert payload(b"payload=" + quote_plus(body).encode(), FORM) == expected


@pytest.mark.parametrize(
    "content_type",
    ["", "application/json", "Application/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"; x=1'],
)
def test_json_may_be_called_so_in_several_ways(content_type: str) -> None:
    assert payload(b'{"a": "\xc3\xa9"}', content_type) == {"a": "é"}


def test_the_other_fields_of_a_form_do_not_matter() -> None:
    assert payload(b"&x=1&payload=%7B%22a%22%3A+1%7D&payloads=2&=&y", FORM) == {"a": 1}


def test_a_field_s_name_may_be_escaped() -> None:
    assert payload(b"p%61yload={}", FORM) == {}


def test_a_form_is_decoded_once() -> None:
    assert payload(b"payload=%7B%22a%22%3A%22%2525%22%7D", FORM) == {"a": "%25"}


def test_of_a_key_that_comes_twice_the_last_counts() -> None:
    assert payload(b'{"a": 1, "a": 2}', JSON) == {"a": 2}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"{'a': 1}", "is not JSON"),
        (b'{"a": 1} x', "is not JSON"),
        (b"\xef\xbb\xbf{}", "is not JSON"),
        (b'{"a": "\x00"}', "is not JSON"),
        (b'{"a": NaN}', "NaN is no JSON"),
        (b'{"a": -Infinity}', "-Infinity is no JSON"),
        (b'{"a": "\xff"}', "is not UTF-8: byte 7"),
        (b'{"a": "\xed\xa0\x80"}', "is not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "is not UTF-8"),
        (b"[]", "a list where an object"),
        (b"1", "a int where an object"),
        (b"null", "a NoneType where an object"),
        (b'"' + b"x" * 100_000 + b'"', "a str where an object"),
        (b'{"a": ' + b"9" * 100_000 + b"}", "more digits than are read"),
        (b'{"a":' * 100_000, "nested too deep"),
        (b"[" * 1_000_000, "nested too deep"),
        (b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested too deep"),
    ],
)
def test_what_is_no_json_object_is_refused_with_the_reason(body: bytes, reason: str) -> None:
    assert reason in refusal(body)
    assert reason in refusal(b"payload=" + quote_plus(body).encode(), FORM)


def test_a_depth_that_can_be_read_is_read() -> None:
    body = b'{"a":' * 50 + b"1" + b"}" * 50

    assert str(payload(body, JSON)).count("a") == 50


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (b"", 0),
        (b"x=1", 0),
        (b"Payload={}", 0),
        (b"payload={}&payload={}", 2),
        (b"payload={}&p%61yload=x", 2),
        (b"[payload]={}", 0),
    ],
)
def test_a_form_has_one_payload(body: bytes, count: int) -> None:
    assert refusal(body, FORM) == f"the form has {count} fields `payload`; one is expected"


def test_a_form_of_ampersands_is_not_taken_apart() -> None:
    assert "more than 100 fields" in refusal(b"payload={}" + b"&" * MAX_FIELDS, FORM)


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data; boundary=x", "application/jsonx", "x" * 60_000])
def test_another_content_type_is_refused_and_named(content_type: str) -> None:
    assert f"not {content_type.split(';')[0][:80]!r}" in refusal(b"{}", content_type)


@pytest.mark.parametrize("charset", ["latin-1", "utf-16", "idna", "x" * 60_000])
def test_another_charset_is_refused_and_named(charset: str) -> None:
    assert refusal(b"{}", f"{JSON}; charset={charset}") == f"the charset of a delivery is UTF-8, not {charset[:40]!r}"


@pytest.mark.parametrize("half", [b"\\ud83d", b"\\uDE00", b"\\ude00\\ud83d"])
def test_half_of_a_pair_becomes_a_question_mark(half: bytes) -> None:
    found = payload(b'{"' + half + b'": ["' + half + b'"], "b": "\\ud83d\\ude00"}', JSON)
    marks = "?" * half.count(b"\\")

    assert found == {marks: [marks], "b": "\N{GRINNING FACE}"}

"""The body of a delivery, read: JSON, or JSON in a form (https://docs.github.com/en/webhooks/webhook-events-and-payloads)."""

from __future__ import annotations

from binascii import a2b_qp
from typing import Any
from urllib.parse import unquote_to_bytes

from agent.errors import DeliveryError
from agent.sources.delivered import json_object

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
"""The content type that GitHub's own pages suggest: one field, `payload`, that holds the JSON."""
MAX_FIELDS = 100
CHARSETS = ("", "utf-8", "utf8", "us-ascii")
"""JSON is UTF-8 and nothing else (RFC 8259, 8.1)."""


def payload(body: bytes, content_type: str) -> dict[str, Any]:
    """The JSON object in `body`. `content_type` is the header's value; without one it is JSON.

    Raises DeliveryError, status 400, for what is none, and for numbers and depths that Python's parser refuses.
    """
    media_type, charset = _media_type(content_type)
    if charset not in CHARSETS:
        raise DeliveryError(400, f"the charset of a delivery is UTF-8, not {charset[:40]!r}")
    if media_type == FORM:
        body = _field(body)
    elif media_type not in (JSON, ""):
        raise DeliveryError(400, f"a delivery is {JSON} or {FORM}, not {media_type[:80]!r}; see the webhook's content type")
    return json_object(body)


def _media_type(content_type: str) -> tuple[str, str]:
    """Type and charset, in lower case; "" where they are not given."""
    media_type, *parameters = content_type.lower().split(";", 10)
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset":
            return media_type.strip(), value.strip().strip('"')
    return media_type.strip(), ""


def _field(form: bytes) -> bytes:
    """The value of the one field `payload`. Raises DeliveryError for a form with none or several."""
    if form.count(b"&") >= MAX_FIELDS:
        raise DeliveryError(400, f"the form has more than {MAX_FIELDS} fields")
    pairs = [field.partition(b"=") for field in form.split(b"&")]
    found = [value for name, _, value in pairs if form_text(name) == b"payload"]
    if len(found) != 1:
        raise DeliveryError(400, f"the form has {len(found)} fields `payload`; one is expected")
    return form_text(found[0])


def form_text(value: bytes) -> bytes:
    """What a name or value of a form stands for: `+` is a blank, `%XX` a byte; a `%` that is none of that stays."""
    value = value.replace(b"+", b" ")
    if b"\n" not in value and b"\r" not in value:
        # Quoted-printable is the same with another sign, and decoded 20 times as fast. It differs in its line ends and in
        # what is no escape, and then more than one byte is left of three.
        quoted = value.replace(b"=", b"=3D").replace(b"%", b"=")
        found = a2b_qp(quoted)
        if len(found) == len(quoted) - 2 * quoted.count(b"="):
            return found
    return unquote_to_bytes(value)

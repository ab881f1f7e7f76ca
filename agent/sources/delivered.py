"""The JSON of a delivery, whoever sent it."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from agent.errors import DeliveryError


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`. Raises DeliveryError, 400, for what is none, and for numbers and depths that Python refuses."""
    try:
        text = body.decode()
        found = _DECODER.decode(text)
        if "\\" in text and ("\\ud" in text or "\\uD" in text):
            # Half of an escaped pair is no character, and no label could be sent with it: `?` from here on.
            found = _DECODER.decode(json.dumps(found, ensure_ascii=False).encode(errors="replace").decode())
    except UnicodeDecodeError as error:
        raise DeliveryError(400, f"the body is not UTF-8: byte {error.start} of {len(body)}") from error
    except RecursionError as error:
        raise DeliveryError(400, "the body is JSON nested too deep") from error
    except json.JSONDecodeError as error:
        raise DeliveryError(400, f"the body is not JSON: {str(error)[:200]}") from error
    except ValueError as error:  # Python's words are about how to change its limit
        raise DeliveryError(400, "the body is JSON with a number of more digits than are read") from error
    if not isinstance(found, dict):
        raise DeliveryError(400, f"the body is JSON, but a {type(found).__name__} where an object is expected")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise DeliveryError(400, f"the body is not JSON: {name} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)

"""Whether GitHub, or whoever else knows the secret, has signed a delivery.

Its rules: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence

HEADER = "x-hub-signature-256"
"""The one header that counts; `x-hub-signature` beside it is SHA-1, kept by GitHub for old receivers."""

_SIGNATURE = re.compile(r"sha256=([0-9a-fA-F]{64})")


def is_signed(body: bytes, signature: str, secrets: Sequence[bytes]) -> bool:
    """Whether `signature`, the value of HEADER, is that of the raw bytes of `body` by one of `secrets`.

    Takes the same time whichever secret it is, and however much of the signature is right.
    """
    found = _SIGNATURE.fullmatch(signature)
    if found is None:
        return False
    given, is_right = bytes.fromhex(found[1]), False
    for secret in secrets:
        is_right |= hmac.compare_digest(hmac.digest(secret, body, "sha256"), given)
    return is_right

"""Content negotiation for the exposition endpoint (RFC 9110, section 12.5)."""

from __future__ import annotations


def _weights(header: str) -> dict[str, tuple[float, dict[str, str]]]:
    """Media type or coding -> (quality, parameters); the best entry of each name; what is malformed has quality 0."""
    found: dict[str, tuple[float, dict[str, str]]] = {}
    for item in header[:2048].split(","):
        name, *rest = (part.strip() for part in item.lower().split(";"))
        parameters = {key.strip(): value.strip().strip('"') for key, _, value in (part.partition("=") for part in rest)}
        try:
            quality = min(1.0, max(0.0, float(parameters.pop("q", "1"))))
        except ValueError:
            quality = 0.0
        if name and quality > found.get(name, (-1.0, {}))[0]:
            found[name] = (quality, parameters)
    return found


def prefers_openmetrics(accept: str) -> bool:
    """Whether a client would rather have OpenMetrics 1.0 than text 0.0.4; a tie goes to OpenMetrics, as asked for by name."""
    weights = _weights(accept)
    openmetrics, parameters = weights.get("application/openmetrics-text", (0.0, {}))
    if parameters.get("version", "1.0.0") not in ("1.0.0", "0.0.1"):
        return False
    plain = max(weights.get(name, (0.0, {}))[0] for name in ("text/plain", "text/*"))
    return openmetrics > 0 and openmetrics >= plain


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether a client takes gzip."""
    weights = _weights(accept_encoding)
    return weights.get("gzip", weights.get("*", (0.0, {})))[0] > 0

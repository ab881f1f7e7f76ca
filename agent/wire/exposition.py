"""The Prometheus text format 0.0.4 and OpenMetrics 1.0: values, labels, headers and histogram rows as text.

Pure functions. What depends on labels alone (`series_text`, `header`) is called when a series is born,
`format_value` for every sample of every answer. Names must be valid metric and label names and unique
within a series: the store checks that once, at birth, and no format can escape a bad one.

Sources: Prometheus "Exposition formats" (text format 0.0.4) and the OpenMetrics 1.0.0 specification.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent.model import Kind

EOF = "# EOF\n"
"""The last line of every OpenMetrics answer; 0.0.4 has none."""

_NON_FINITE = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}
_LABEL_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})

_TEXT_TYPES = {
    Kind.UNKNOWN: "untyped",
    Kind.INFO: "gauge",
    Kind.STATESET: "gauge",
    # Announced as a histogram, Go's parser would invent a `_count` and a `_sum` beside `_gcount` and `_gsum`.
    Kind.GAUGEHISTOGRAM: "untyped",
}


def format_value(value: float) -> str:
    """One sample value, exact and as short as can be: `42`, `0.1`, `-0`, `1e+16`, `+Inf`, `-Inf`, `NaN`."""
    text = repr(value)
    if text[-2:] == ".0":
        return text[:-2]
    return _NON_FINITE.get(text, text)


def format_bound(bound: float) -> str:
    """A bucket's upper bound as Go's client prints it (strconv 'g', shortest): `0.5`, `1`, `1e+06`, `+Inf`.

    `le` is part of a series' identity, so a bound has to read the same as in any other exporter: unlike
    Python, Go writes an exponent from a million on.
    """
    text = format_value(bound)
    if not 1e6 <= abs(bound) < 1e16:
        return text
    sign = "-" if bound < 0 else ""
    whole, _, fraction = text.removeprefix("-").partition(".")
    digits = (whole + fraction).rstrip("0")
    mantissa = f"{digits[0]}.{digits[1:]}" if len(digits) > 1 else digits
    return f"{sign}{mantissa}e+{len(whole) - 1:02d}"


def escape_label(text: str) -> str:
    """A label value as it stands between its quotes."""
    return text.translate(_LABEL_ESCAPES)


def escape_help(text: str) -> str:
    """A help text as 0.0.4 wants it; OpenMetrics escapes quotes too (`escape_label`)."""
    return text.translate(_HELP_ESCAPES)


def series_text(name: str, labels: Sequence[tuple[str, str]]) -> str:
    """`name{a="b",c="d"}` in the given order; labels with an empty value are absent, so left out."""
    inside = ",".join([f'{label}="{escape_label(value)}"' for label, value in labels if value])
    return f"{name}{{{inside}}}" if inside else name


def announced(name: str, kind: Kind) -> tuple[str, str]:
    """The family name and type that OpenMetrics announces for samples called `name` (and its suffixes).

    Sample names never differ between the formats, so what OpenMetrics would rename is announced as
    something that keeps its name: a counter without `_total` as `unknown`, an info without `_info` as a
    gauge. A stateset is a gauge too: its rules bind the labels, which relabelling may have changed.
    """
    if kind is Kind.COUNTER:
        stem = name.removesuffix("_total")
        return (stem, "counter") if stem not in ("", name) else (name, "unknown")
    if kind is Kind.INFO:
        stem = name.removesuffix("_info")
        return (stem, "info") if stem not in ("", name) else (name, "gauge")
    if kind is Kind.STATESET:
        return name, "gauge"
    return name, kind.value


def header(family_name: str, kind: Kind, help: str, unit: str, openmetrics: bool) -> str:
    """The comment lines in front of a family, each ending in a newline.

    `# UNIT` (seconds, bytes, ...) exists in OpenMetrics only and is left out where the name does not end
    in it, for the specification refuses such a family whole.
    """
    if not openmetrics:
        described = f"# HELP {family_name} {escape_help(help)}\n" if help else ""
        return f"{described}# TYPE {family_name} {_TEXT_TYPES.get(kind, kind.value)}\n"
    name, kind_text = announced(family_name, kind)
    lines = [f"# HELP {name} {escape_label(help)}\n"] if help else []
    lines.append(f"# TYPE {name} {kind_text}\n")
    if unit and kind_text != "info" and name.endswith(f"_{unit}"):
        lines.append(f"# UNIT {name} {unit}\n")
    return "".join(lines)


def histogram_samples(family_name: str, bounds: Sequence[float], cells: Sequence[float]) -> Iterator[tuple[str, str, float]]:
    """The samples of one histogram row as (sample name, `le` or "", value).

    `cells` holds the cumulative count of each bound, then the count of all observations, then their sum:
    `len(bounds) + 2` numbers. Buckets come first, with `+Inf`, then `_count`, then `_sum`.
    """
    bucket = f"{family_name}_bucket"
    for bound, count in zip(bounds, cells, strict=False):
        yield bucket, format_bound(bound), count
    total, observed = cells[len(bounds)], cells[len(bounds) + 1]
    yield bucket, "+Inf", total
    yield f"{family_name}_count", "", total
    yield f"{family_name}_sum", "", observed

"""What a client takes: Accept and Accept-Encoding as scrapers and browsers send them, and as nobody should."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.web.negotiate import accepts_gzip, prefers_openmetrics

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROTOBUF_FIRST = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,"
    "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
VMAGENT = "text/plain;version=0.0.4;q=1,*/*;q=0.1"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    "accept",
    [
        PROMETHEUS_2,
        PROMETHEUS_3,
        PROTOBUF_FIRST,
        "application/openmetrics-text",
        "APPLICATION/OPENMETRICS-TEXT ; Version=1.0.0",
        'application/openmetrics-text; version="1.0.0"; charset=utf-8',
        "text/plain, application/openmetrics-text",
        "application/openmetrics-text;q=0.001",
    ],
)
def test_openmetrics_goes_to_who_would_rather_have_it(accept: str) -> None:
    assert prefers_openmetrics(accept)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        VMAGENT,
        BROWSER,
        "text/plain",
        "application/*",
        "text/plain;q=0.9,application/openmetrics-text;q=0.8",
        "text/*;q=0.9,application/openmetrics-text;q=0.8",
        "application/openmetrics-text;version=2.0.0",
        "application/openmetrics-text;q=0",
        "application/openmetrics-text;q=high",
        "application/openmetrics-text;q=-1",
        "application/openmetrics-text;q=nan",
        "application/openmetrics-text;q=2",
        "application/openmetrics-textual",
    ],
)
def test_everybody_else_gets_text(accept: str) -> None:
    assert not prefers_openmetrics(accept)


@pytest.mark.parametrize("encodings", ["gzip", "GZIP", "deflate, gzip;q=0.5", "gzip, deflate, br, zstd", "*", "br, *;q=0.1"])
def test_gzip_goes_to_who_takes_it(encodings: str) -> None:
    assert accepts_gzip(encodings)


@pytest.mark.parametrize("encodings", ["", "identity", "deflate", "gzip;q=0", "*, gzip;q=0.0", "*;q=0", "x-gzip", "gzip;q=lots"])
def test_nobody_else_gets_gzip(encodings: str) -> None:
    assert not accepts_gzip(encodings)


@given(header=st.text(st.characters(max_codepoint=255)) | st.text(st.sampled_from('gzip*/,;="q .0')))
def test_no_header_is_too_strange(header: str) -> None:
    assert prefers_openmetrics(header) in (True, False)
    assert accepts_gzip(header) in (True, False)


def test_only_the_beginning_of_an_endless_header_is_read() -> None:
    assert not accepts_gzip("identity," * 10_000 + "gzip")

"""Anklet's host lines."""

from __future__ import annotations

import math

import pytest

from agent.sources import anklet_view

VALUES = {
    "host_cpu_count": 8.0,
    "host_cpu_used_count": 2.04,
    "host_cpu_usage_percentage": 25.5,
    "host_memory_total_bytes": 17179869184.0,
    "host_memory_used_bytes": 8589934592.0,
    "host_memory_available_bytes": 8589934592.0,
    "host_memory_usage_percentage": 50.0,
    "host_disk_total_bytes": 500000000000.0,
    "host_disk_used_bytes": 250000000000.0,
    "host_disk_available_bytes": 250000000000.0,
    "host_disk_usage_percentage": 100 / 3,
}

PAGE = """\
host_cpu_count 8
host_cpu_used_count 2
host_cpu_usage_percentage 25.500000
host_memory_total_bytes 17179869184
host_memory_used_bytes 8589934592
host_memory_available_bytes 8589934592
host_memory_usage_percentage 50.000000
host_disk_total_bytes 500000000000
host_disk_used_bytes 250000000000
host_disk_available_bytes 250000000000
host_disk_usage_percentage 33.333333
"""


def test_the_eleven_lines_are_printed_as_anklet_prints_them() -> None:
    assert anklet_view.lines(VALUES) == PAGE


def test_the_order_is_anklets_whatever_the_order_of_the_values() -> None:
    assert anklet_view.lines(dict(reversed(VALUES.items()))) == PAGE


def test_other_metrics_are_not_printed() -> None:
    assert anklet_view.lines(VALUES | {"host_load1": 1.0}) == PAGE


def test_a_missing_value_loses_its_line_only() -> None:
    known = {name: value for name, value in VALUES.items() if name != "host_cpu_usage_percentage"}

    assert anklet_view.lines(known) == PAGE.replace("host_cpu_usage_percentage 25.500000\n", "")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_left_out(value: float) -> None:
    assert anklet_view.lines({"host_cpu_count": value, "host_cpu_usage_percentage": value}) == ""


def test_half_a_processor_counts_as_one() -> None:
    assert anklet_view.lines({"host_cpu_count": 0.5}) == "host_cpu_count 1\n"


def test_a_terabyte_is_not_printed_with_an_exponent() -> None:
    assert anklet_view.lines({"host_disk_total_bytes": 1e16}) == "host_disk_total_bytes 10000000000000000\n"

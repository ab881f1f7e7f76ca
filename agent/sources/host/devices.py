"""Counters of block devices and network interfaces."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from agent.model import Family, Kind
from agent.sources.host.reader import Reader, Reading

DEFAULT_DISK_EXCLUDE = r"(z?ram|loop|fd|sr)\d+|([hsv]|xv)d[a-z]+\d+|(nvme\d+n|mmcblk)\d+p\d+"
"""Memory and loop devices, and partitions, whose traffic their disk counts too."""
DEFAULT_NETWORK_EXCLUDE = r"lo\d*|(veth|cali|cni|flannel|docker|br-|virbr|tap|ifb|dummy|utun|awdl|llw|anpi|gif|stf).*"
"""Loopback and the interfaces that container engines and macOS make by the dozen."""

_MAX_DEVICES = 256


def _counter(name: str, help: str, unit: str = "") -> Family:
    return Family(name, Kind.COUNTER, help, unit, labels=("device",))


DISK = (
    (_counter("host_disk_read_bytes_total", "Bytes read from the device.", "bytes"), "read_bytes", 1.0),
    (_counter("host_disk_written_bytes_total", "Bytes written to the device.", "bytes"), "write_bytes", 1.0),
    (_counter("host_disk_reads_completed_total", "Reads the device finished."), "read_count", 1.0),
    (_counter("host_disk_writes_completed_total", "Writes the device finished."), "write_count", 1.0),
    (_counter("host_disk_read_time_seconds_total", "Time spent in reads, summed over them.", "seconds"), "read_time", 1e-3),
    (_counter("host_disk_write_time_seconds_total", "Time spent in writes, summed over them.", "seconds"), "write_time", 1e-3),
    (_counter("host_disk_io_time_seconds_total", "Time the device was busy (Linux).", "seconds"), "busy_time", 1e-3),
)
"""(family, psutil's field, what one of it is in the family's unit); psutil gives milliseconds."""

NETWORK = (
    (_counter("host_network_receive_bytes_total", "Bytes received.", "bytes"), "bytes_recv", 1.0),
    (_counter("host_network_transmit_bytes_total", "Bytes sent.", "bytes"), "bytes_sent", 1.0),
    (_counter("host_network_receive_packets_total", "Packets received."), "packets_recv", 1.0),
    (_counter("host_network_transmit_packets_total", "Packets sent."), "packets_sent", 1.0),
    (_counter("host_network_receive_errors_total", "Errors while receiving."), "errin", 1.0),
    (_counter("host_network_transmit_errors_total", "Errors while sending."), "errout", 1.0),
    (_counter("host_network_receive_dropped_total", "Incoming packets dropped."), "dropin", 1.0),
    (_counter("host_network_transmit_dropped_total", "Outgoing packets dropped."), "dropout", 1.0),
)
"""(family, psutil's field, scale), as in `DISK`."""

FAMILIES = tuple(family for family, _, _ in DISK + NETWORK)


def read_disks(reader: Reader, exclude: re.Pattern[str]) -> Iterator[Reading]:
    """Counters of every block device whose whole name `exclude` does not match."""
    return _by_device(reader.disk_io_counters(perdisk=True, nowrap=False), DISK, exclude)


def read_networks(reader: Reader, exclude: re.Pattern[str]) -> Iterator[Reading]:
    """Counters of every interface whose whole name `exclude` does not match."""
    return _by_device(reader.net_io_counters(pernic=True, nowrap=False), NETWORK, exclude)


def _by_device(
    counters: Mapping[str, Any] | None, fields: tuple[tuple[Family, str, float], ...], exclude: re.Pattern[str]
) -> Iterator[Reading]:
    """The first 256 devices by name; a field this platform lacks is left out."""
    devices = sorted(name for name in counters or () if not exclude.fullmatch(name))[:_MAX_DEVICES]
    for device in devices:
        for family, field, scale in fields:
            value = getattr((counters or {})[device], field, None)
            if value is not None:
                yield family, (device,), value * scale

"""One fresh sample of our own, to find out whether a receiver stores anything at all."""

from __future__ import annotations

import json
from dataclasses import replace

from agent.model import Block, Form, Protocol
from agent.wire import remote_write, vm_import
from agent.wire.compress import compress, decompress
from agent.wire.transcode import recoded

NAME = "cipush_sink_probe"
_KEPT = ("instance", "job")
"""Labels taken over from the block in question, so that two agents' probes are two series."""


def probe(block: Block, timestamp_ms: int) -> Block:
    """The sample `cipush_sink_probe` 1 at `timestamp_ms`, in the form of `block` and for the same job and instance.

    A series that no block holds: it is out of order with nothing. Raises ValueError for bytes that are none of ours.
    """
    labels = [("__name__", NAME), *_labels(block)]
    if block.protocol is Protocol.IMPORT:
        body = vm_import.line(vm_import.prefix(labels), 1.0, timestamp_ms)
        return replace(block, payload=compress(body, block.encoding), samples=1, timestamp_ms=timestamp_ms)
    heads = [remote_write.label(remote_write.label_head(name), value) for name, value in labels]
    record = bytearray(remote_write.record(b"".join(heads)))
    remote_write.pack_value(record, len(record) - remote_write.VALUE_TO_END, 1.0, remote_write.tail(timestamp_ms))
    form = Form(block.protocol, block.encoding)
    plain = form if block.protocol is Protocol.REMOTE_WRITE else Form(Protocol.REMOTE_WRITE, block.encoding)
    made = replace(
        block, payload=compress(bytes(record), plain.encoding), protocol=plain.protocol, samples=1, timestamp_ms=timestamp_ms
    )
    return recoded(made, form)


def _labels(block: Block) -> list[tuple[str, str]]:
    """Job and instance of the block's first series, sorted."""
    if block.protocol is Protocol.IMPORT:
        first = decompress(block.payload, block.encoding).partition(b"\n")[0]
        try:
            metric = json.loads(first)["metric"]
            return [(name, metric[name]) for name in _KEPT if isinstance(metric.get(name), str)]
        except (TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError("not a line of an import") from error
    from google.protobuf.message import DecodeError

    from agent.wire.remote_write_pb2 import WriteRequest  # a rare case: not worth its memory at the start

    body = decompress(recoded(block, Form(Protocol.REMOTE_WRITE, block.encoding)).payload, block.encoding)
    try:
        series = WriteRequest.FromString(body).timeseries
    except DecodeError as error:
        raise ValueError("not a write request") from error
    found = {label.name: label.value for label in series[0].labels} if series else {}
    return [(name, found[name]) for name in _KEPT if found.get(name)]

"""A finished remote-write block in another form, for a receiver that does not understand the one it was made in.

Blocks may come back from a disk, so they are bounded and checked like anything foreign.
"""

from __future__ import annotations

from dataclasses import replace

from agent.model import Block, Form, Protocol
from agent.wire.compress import compress, decompress
from agent.wire.remote_write import spans


def recoded(block: Block, form: Form) -> Block:
    """`block` in `form`: the same samples at the same times, and as much of the rest as the form can say.

    Its flush, group, times and mark of events stay. Raises ValueError for bytes that are no such body, and for
    forms between which there is no way: import lines are nothing but import lines.
    """
    if (block.protocol, block.encoding) == form:
        return block
    body = decompress(block.payload, block.encoding)
    ways = (block.protocol, form.protocol)
    samples = block.samples
    if ways == (Protocol.REMOTE_WRITE, Protocol.REMOTE_WRITE):
        for _ in spans(body):  # raises for what is no request
            pass
    elif set(ways) <= {Protocol.REMOTE_WRITE, Protocol.REMOTE_WRITE_2}:
        from agent.wire import convert  # the generated classes take memory, and most agents never come here

        if block.protocol is form.protocol:
            convert.parsed2(body)
        else:
            change = convert.to_1 if form.protocol is Protocol.REMOTE_WRITE else convert.to_2
            body, samples = change(body)
    else:
        raise ValueError(f"no way from {block.protocol.value} to {form.protocol.value}")
    payload = compress(body, form.encoding)
    return replace(block, payload=payload, protocol=form.protocol, encoding=form.encoding, samples=samples)

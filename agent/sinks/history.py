"""What sinks that want every sample have in common: options of the queue, and the request that carries a block."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import Field

from agent.model import Block, Encoding, Form, Outcome, Protocol
from agent.net.client import Client, HttpSinkOptions, shown
from agent.net.push import Request, Rules, push
from agent.plugin import Fsync, Policy, Section

VICTORIAMETRICS_IN_FLIGHT = 4
"""Requests at one time to a receiver that takes samples in any order: enough to fill a line with a long round trip."""


class Queue(Section):
    """Where blocks wait for the receiver."""

    max_bytes: int = Field(
        default=1 << 30,
        ge=1 << 20,
        description="what may wait; beyond it the oldest is dropped, events last; at most 64 MiB where state_dir is none",
    )
    fsync: Fsync = Field(
        default=Fsync.INTERVAL,
        description="when a waiting block is synced to disk: interval, always (before it is first sent) or never (it is "
        "written after the same time, but a power cut may lose it)",
    )
    fsync_interval_seconds: float = Field(
        default=1.0, ge=0.05, le=3600, description="a block that waited so long is written, and synced unless fsync is never"
    )


class HistoryOptions(HttpSinkOptions):
    """The keys every history sink takes."""

    max_sample_age_seconds: float | None = Field(
        default=None, ge=0, description="drop what is older instead of sending it; 0 = never"
    )
    max_retry_age_seconds: float = Field(
        default=0, ge=0, description="drop what was not accepted within this time of being collected; 0 = never"
    )
    queue: Queue = Field(default_factory=Queue, description="where blocks wait for the receiver")


def delivery(
    options: HistoryOptions, forms: tuple[Form, ...], *, max_sample_age_seconds: float = 0.0, in_any_order: bool = False
) -> Policy:
    """The policy that the options stand for; the age limit is the sink's own default where they give none."""
    given = options.max_sample_age_seconds
    return Policy(
        timeout_seconds=options.timeout_seconds,
        max_sample_age_seconds=max_sample_age_seconds if given is None else given,
        max_retry_age_seconds=options.max_retry_age_seconds,
        max_in_flight=VICTORIAMETRICS_IN_FLIGHT if in_any_order else 1,
        fresh_first=in_any_order,
        forms=forms,
        strict_spec=options.strict_spec,
        rate_limit_bytes_per_second=options.rate_limit_bytes_per_second,
        queue_max_bytes=options.queue.max_bytes,
        fsync=options.queue.fsync,
        fsync_interval_seconds=options.queue.fsync_interval_seconds,
    )


class PostSink:
    """Posts each block to one address, as it is. `headers`: those of each form, beside Content-Encoding."""

    def __init__(
        self, client: Client, headers: Mapping[Form, Mapping[str, str]], rules: Rules, clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._headers = headers
        self._rules = rules
        self._clock = clock
        self._plain = list(headers)[-1]

    @property
    def url(self) -> str:
        """Where it sends, without credentials."""
        return shown(self._client.url)

    @property
    def direct_address(self) -> tuple[str, int] | None:
        """Host and port it connects to."""
        return self._client.direct_address

    async def send(self, block: Block) -> Outcome:
        """One POST of the block's bytes."""
        form = Form(block.protocol, block.encoding)
        packed = {} if block.encoding is Encoding.IDENTITY else {"Content-Encoding": block.encoding.value}
        headers = {**self._headers.get(form, self._headers[self._plain]), **packed}
        counted = block.protocol is Protocol.REMOTE_WRITE_2
        request = Request("POST", self._client.url, headers, block.payload, form == self._plain, counted)
        return await push(self._client, request, self._clock, self._rules)

    async def aclose(self) -> None:
        """Close the connections; what was posted stays."""
        await self._client.aclose()

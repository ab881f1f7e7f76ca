"""What sinks that want every sample have in common: options of the queue, and the request that carries a block."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import Field

from agent.model import Block, Encoding, Outcome
from agent.net.client import Client, HttpSinkOptions, shown
from agent.net.push import Request, Rules, push
from agent.plugin import Policy, Section


class Queue(Section):
    """Where blocks wait for the receiver."""

    max_bytes: int = Field(default=64 << 20, ge=1 << 20, description="what may wait; beyond it the oldest is dropped")


class HistoryOptions(HttpSinkOptions):
    """The keys every history sink takes."""

    max_sample_age_seconds: float | None = Field(
        default=None, ge=0, description="drop what is older instead of sending it; 0 = never"
    )
    max_retry_age_seconds: float = Field(
        default=0, ge=0, description="drop what was not accepted within this time of being collected; 0 = never"
    )
    queue: Queue = Field(default_factory=Queue, description="where blocks wait for the receiver")


def delivery(options: HistoryOptions, max_sample_age_seconds: float) -> Policy:
    """The policy that the options stand for; the age limit is the sink's own default where they give none."""
    given = options.max_sample_age_seconds
    return Policy(
        timeout_seconds=options.timeout_seconds,
        max_sample_age_seconds=max_sample_age_seconds if given is None else given,
        max_retry_age_seconds=options.max_retry_age_seconds,
        queue_max_bytes=options.queue.max_bytes,
    )


class PostSink:
    """Posts each block to one address, as it is."""

    def __init__(self, client: Client, headers: Mapping[str, str], rules: Rules, clock: Callable[[], float]) -> None:
        self._client = client
        self._headers = headers
        self._rules = rules
        self._clock = clock

    @property
    def url(self) -> str:
        """Where it sends, without credentials."""
        return shown(self._client.url)

    async def send(self, block: Block) -> Outcome:
        """One POST of the block's bytes."""
        packed = {} if block.encoding is Encoding.IDENTITY else {"Content-Encoding": block.encoding.value}
        headers = {**self._headers, **packed}
        return await push(self._client, Request("POST", self._client.url, headers, block.payload), self._clock, self._rules)

    async def aclose(self) -> None:
        """Close the connections; what was posted stays."""
        await self._client.aclose()

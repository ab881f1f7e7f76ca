"""Forms of a body that old receivers do not understand: what arrives all the same."""

from __future__ import annotations

import pytest

from agent.model import Encoding, Form, Protocol
from agent.wire.transcode import recoded
from tests import crafted, servers
from tests.crafted import block, labels, to_remote_write

pytestmark = pytest.mark.anyio

ZSTD = Form(Protocol.REMOTE_WRITE, Encoding.ZSTD)
SECOND_VERSION = Form(Protocol.REMOTE_WRITE_2, Encoding.SNAPPY)


@pytest.fixture
def anyio_backend() -> object:
    return crafted.fast_backend()


async def test_a_body_over_the_limit_of_victoria_metrics_arrives_in_parts(tmp_path_factory: pytest.TempPathFactory) -> None:
    """It says 400 where others say 413."""
    with servers.victoria_metrics(tmp_path_factory.mktemp("small"), 0, "-maxInsertRequestSize=4KiB") as small:
        now = crafted.now_ms()
        wide = block(*[(labels("wide", i=str(i), pad=f"{i * 7919:064}"), [(float(i), now)]) for i in range(300)])
        found = await to_remote_write(small.url).deliver(wide)
        arrived = sorted(value for series in small.export("wide") for value in series.values)

    assert arrived == [float(i) for i in range(300)]
    assert found.dropped == {}


async def test_victoria_metrics_without_zstd_gets_snappy(victoria_metrics: servers.VictoriaMetrics) -> None:
    now = crafted.now_ms()
    blocks = [recoded(block((labels("packed"), [(value, now + i)])), ZSTD) for i, value in enumerate((1.0, 2.0))]

    found = await to_remote_write(victoria_metrics.url, receiver="victoriametrics").deliver(*blocks)

    assert [series.values for series in victoria_metrics.export("packed")] == [[1.0, 2.0]]
    assert found.dropped == {}
    assert found.requests == {"400": 1, "204": 2}


async def test_victoria_metrics_which_answers_204_to_version_2_gets_version_1(victoria_metrics: servers.VictoriaMetrics) -> None:
    now = crafted.now_ms()
    blocks = [recoded(block((labels("second"), [(value, now + i)])), SECOND_VERSION) for i, value in enumerate((1.0, 2.0))]

    found = await to_remote_write(victoria_metrics.url, protocol="v2").deliver(*blocks)

    assert [series.values for series in victoria_metrics.export("second")] == [[1.0, 2.0]]
    assert found.dropped == {}
    assert found.status["form"] == "remote_write, snappy"
    assert found.status["samples_sent"] == 2


async def test_prometheus_which_answers_204_to_version_2_gets_version_1(prometheus: servers.Prometheus) -> None:
    now = crafted.now_ms()
    blocks = [recoded(block((labels("second"), [(value, now + i)])), SECOND_VERSION) for i, value in enumerate((1.0, 2.0))]

    found = await to_remote_write(prometheus.url, protocol="v2").deliver(*blocks)

    assert [series.values for series in prometheus.samples("second")] == [[1.0, 2.0]]
    assert found.dropped == {}
    assert found.status["form"] == "remote_write, snappy"
    assert found.status["samples_sent"] == 2

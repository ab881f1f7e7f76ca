"""The agents of `peers`: each one's configuration, and the command that starts it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.servers import free_port


def cipush(folder: Path, url: str, write: str, targets: int, interval: float, receiver: str) -> list[str]:
    """`cipush run`, its state below `folder`."""
    wanted = [{"url": f"{url}/t{n}", "job": f"t{n}", "timeout_seconds": interval, "max_bytes": 1 << 30} for n in range(targets)]
    config = {
        "agent": {"job": "peers", "flush_interval_seconds": interval, "state_dir": str(folder / "state")},
        "server": {"listen_address": f"127.0.0.1:{free_port()}"},
        "store": {"max_series": 3_000_000, "max_bytes": 4 << 30},
        "sinks": {"null": {"type": "remote_write", "url": f"{write}/api/v1/write", "receiver": receiver}},
        "sources": {"ci": {"type": "scrape", "interval_seconds": interval, "targets": wanted}},
    }
    file = folder / "cipush.json"
    file.write_text(json.dumps(config))
    return [sys.executable, "-m", "agent", "run", "--config", str(file)]


def scraping(folder: Path, url: str, write: str, targets: int, interval: float) -> Path:
    """A Prometheus configuration file of the same work; `write` "" = without `remote_write`."""
    host = url.removeprefix("http://")
    jobs = [{"job_name": f"t{n}", "metrics_path": f"/t{n}", "static_configs": [{"targets": [host]}]} for n in range(targets)]
    times = {"scrape_interval": f"{interval:g}s", "scrape_timeout": f"{interval:g}s"}
    config: dict[str, object] = {"global": times, "scrape_configs": jobs}
    if write:
        config["remote_write"] = [{"url": f"{write}/api/v1/write"}]
    file = folder / "prometheus.yml"  # JSON is YAML
    file.write_text(json.dumps(config))
    return file


def command(agent: str, folder: Path, url: str, write: str, targets: int, interval: float) -> list[str]:
    """How `agent`, one of AGENTS, is started to scrape below `url` and write to `write`."""
    if agent.startswith("cipush"):
        return cipush(folder, url, write, targets, interval, "victoriametrics" if agent.endswith("zstd") else "generic")
    file = scraping(folder, url, write if agent == "prometheus" else "", targets, interval)
    listen = f"127.0.0.1:{free_port()}"
    if agent == "vmagent":
        more = [f"-remoteWrite.tmpDataPath={folder / 'queue'}", f"-httpListenAddr={listen}", "-promscrape.maxScrapeSize=1GB"]
        return ["vmagent", f"-promscrape.config={file}", f"-remoteWrite.url={write}/api/v1/write", *more]
    more = ["--enable-feature=agent", f"--storage.agent.path={folder / 'wal'}", f"--web.listen-address={listen}"]
    return ["prometheus", f"--config.file={file}", *more]


AGENTS = ("cipush snappy", "cipush zstd", "vmagent", "prometheus")

"""The verbs of `cipush` and their exit codes. Everything but click is imported by the verb that needs it.

0 ok, 1 failed while running, 2 wrong usage (click), 75 try again later, 78 wrong configuration (the last two from sysexits.h).
Data goes to standard output, everything else to standard error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from agent.config.model import Loaded

EXIT_FAILED, EXIT_TEMPORARY, EXIT_CONFIG = 1, 75, 78

Command = TypeVar("Command", bound=Callable[..., Any])


class Override(click.ParamType[tuple[str, str]]):
    """`a.b=c` as (key, text)."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Split at the first `=`; usage error where there is none."""
        if isinstance(value, tuple):
            return value
        key, separator, text = str(value).partition("=")
        if not separator or not key.strip(".") or any(not part for part in key.split(".")):
            self.fail(f"{key!r} is not KEY=VALUE, such as agent.job=ci", param, ctx)
        return key, text


@dataclass(frozen=True)
class Said:
    """What the flags that make up the configuration say."""

    config: tuple[Path, ...] = ()
    overrides: tuple[tuple[str, str], ...] = ()
    push: tuple[str, ...] = ()
    listen: str | None = None
    log_level: str | None = None

    def loader(self) -> tuple[Callable[[], Loaded], dict[str, str]]:
        """(load again, the environment) for this process."""
        from agent import config

        environ = config.process_environ()
        files = self.config or config.find_files(environ)
        return lambda: config.load(files, environ, self.overrides, self.push, self.listen, self.log_level), environ


_CONFIG = click.option(
    "--config",
    "config",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration file; later ones win.",
)
_SET = click.option("--set", "overrides", multiple=True, type=Override(), help="One key, such as agent.job=ci.")
_PUSH = click.option("--push", multiple=True, metavar="URL", help="Add a sink; its type is told from the URL.")
_LISTEN = click.option("--listen", metavar="ADDR", help="host:port of the web server.")
_LOG_LEVEL = click.option("--log-level", metavar="LEVEL", help="debug, info, warning, error or critical.")


def _configured(command: Command) -> Command:
    for option in (_LOG_LEVEL, _LISTEN, _SET, _PUSH, _CONFIG):
        command = option(command)
    return command


def _asking(command: Command) -> Command:
    token = click.option(
        "--token-file", type=click.Path(path_type=Path), metavar="FILE", help="File with the agent's auth token."
    )
    url = click.option("--url", metavar="URL", help="The agent, such as http://127.0.0.1:9817; else the configured one.")
    for option in (token, url, _SET, _CONFIG):
        command = option(command)
    return command


@contextmanager
def _exit_codes() -> Iterator[None]:
    """Tell what is wrong in words, and end with the code for it. What is none of ours is a bug, and keeps its traceback."""
    from agent.errors import CipushError, ConfigError, TemporaryError
    from agent.secret import redact

    try:
        yield
    except (CipushError, BaseExceptionGroup) as raised:
        error: BaseException = raised
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]  # task groups wrap what ends them
        if not isinstance(error, CipushError):
            raise
        for line in error.problems if isinstance(error, ConfigError) else (f"cipush: {error}",):
            click.echo(redact(line), err=True)
        code = (
            EXIT_CONFIG
            if isinstance(error, ConfigError)
            else EXIT_TEMPORARY
            if isinstance(error, TemporaryError)
            else EXIT_FAILED
        )
        raise click.exceptions.Exit(code) from None


def _version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    import platform

    from google.protobuf.internal import api_implementation

    from agent import __version__

    click.echo(f"cipush {__version__}, Python {platform.python_version()}, protobuf {api_implementation.Type()}")
    ctx.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Version of cipush, Python, protobuf."
)
def main() -> None:
    """A push-mode metrics agent for CI: gathers samples behind NAT and pushes them to where they are kept."""


@main.command()
@_configured
def run(**flags: Any) -> None:
    """Gather and push until told to stop (SIGTERM); SIGHUP reloads."""
    with _exit_codes():
        load, environ = Said(**flags).loader()
        loaded = load()
        from agent import process

        process.run(loaded, environ, load)


@main.command()
@_configured
@click.option("--dry-run", is_flag=True, help="Print what would be pushed as exposition text, and push nothing.")
def once(dry_run: bool, **flags: Any) -> None:
    """Collect once, push once; exit 0 when every sink accepted, else 75."""
    with _exit_codes():
        load, environ = Said(**flags).loader()
        loaded = load()
        from agent import once

        if dry_run:
            once.dry_run(loaded, environ, lambda text: click.echo(text, nl=False))
        else:
            once.once(loaded, environ)


@main.command()
@_configured
@click.option("--online", is_flag=True, help="Also ask every sink and source, with a canary sample where it can be read back.")
def check(online: bool, **flags: Any) -> None:
    """Validate, and print the configuration in force with the origin of every key; secrets are ****."""
    with _exit_codes():
        load, environ = Said(**flags).loader()
        loaded = load()
        from agent import config
        from agent.cli import check as cli_check

        remarks = cli_check.offline(loaded, environ)
        click.echo(config.effective(loaded), nl=False)
        click.echo(cli_check.views(loaded) + remarks, nl=False)
        if online:
            cli_check.online(loaded, click.echo)


@main.command()
@click.option("--push", multiple=True, metavar="URL", help="Push there instead of to the embedded receiver.")
@_LISTEN
def demo(push: tuple[str, ...], listen: str | None) -> None:
    """The whole thing with no account: this host's samples, a receiver, the status page."""
    with _exit_codes():
        from agent.cli import demo as cli_demo

        cli_demo.demo(push, listen, click.echo)


@main.command()
@click.option("--listen", default="127.0.0.1:9818", show_default=True, metavar="ADDR", help="host:port of the receiver.")
def receive(listen: str) -> None:
    """The embedded receiver alone: shows what arrives, of whatever pushes to it."""
    with _exit_codes():
        from agent.cli import demo as cli_demo

        cli_demo.receive(listen, click.echo)


@main.command()
@_asking
@click.option("--json", "as_json", is_flag=True, help="The agent's answer as it is.")
def status(as_json: bool, url: str | None, token_file: Path | None, **flags: Any) -> None:
    """How a running agent is doing."""
    with _exit_codes():
        from agent.cli import ask as cli_ask

        answer = cli_ask.ask(Said(**flags), url, token_file, "/api/status", {})
        click.echo(cli_ask.as_json(answer) if as_json else cli_ask.status_text(answer))


@main.command()
@_asking
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="The agent's answer as it is.")
def explain(name: str, as_json: bool, url: str | None, token_file: Path | None, **flags: Any) -> None:
    """Why the series called NAME are there, in a running agent, or why not."""
    with _exit_codes():
        from agent.cli import ask as cli_ask

        answer = cli_ask.ask(Said(**flags), url, token_file, "/api/explain", {"name": name})
        click.echo(cli_ask.as_json(answer) if as_json else cli_ask.explain_text(name, answer))


@main.group()
def queue() -> None:
    """What waits for the sinks: of a running agent, or of a stopped one from its state directory."""


@queue.command("ls")
@_asking
@click.option("--json", "as_json", is_flag=True, help="The answer as it is.")
def queue_ls(as_json: bool, url: str | None, token_file: Path | None, **flags: Any) -> None:
    """Every queue, those of sinks that left the configuration too."""
    with _exit_codes():
        import time

        from agent.cli import ask as cli_ask
        from agent.cli import queue as cli_queue

        answer = cli_queue.listed(Said(**flags), url, token_file)
        click.echo(cli_ask.as_json(answer) if as_json else cli_queue.queues_text(answer, time.time()))


@queue.command("peek")
@_asking
@click.argument("name")
@click.option("--count", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many blocks.")
@click.option("--json", "as_json", is_flag=True, help="The answer as it is.")
def queue_peek(name: str, count: int, as_json: bool, url: str | None, token_file: Path | None, **flags: Any) -> None:
    """The oldest blocks in the queue NAME."""
    with _exit_codes():
        from agent.cli import ask as cli_ask
        from agent.cli import queue as cli_queue

        answer = cli_queue.heads(Said(**flags), url, token_file, name, count)
        click.echo(cli_ask.as_json(answer) if as_json else cli_queue.heads_text(answer))


@queue.command("drop")
@_asking
@click.argument("name")
@click.option("--upto", type=click.IntRange(1), metavar="SEQUENCE", help="Only blocks up to this one; see peek.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def queue_drop(name: str, upto: int | None, yes: bool, url: str | None, token_file: Path | None, **flags: Any) -> None:
    """Give up what waits in the queue NAME: it will never be sent."""
    with _exit_codes():
        from agent.cli import queue as cli_queue

        if not yes:
            click.confirm(f"Drop what waits in the queue {name}? It will never be sent", abort=True, err=True)
        samples = cli_queue.dropped(Said(**flags), url, token_file, name, upto)
        click.echo(f"dropped {samples:,} samples")


@main.command()
@click.option("--format", "form", type=click.Choice(["markdown", "json"]), default="markdown", show_default=True)
def metrics(form: str) -> None:
    """Every metric family cipush can set."""
    from agent.cli import metrics as cli_metrics

    click.echo(cli_metrics.as_json() if form == "json" else cli_metrics.markdown(), nl=False)


@main.group()
def config() -> None:
    """What can be configured."""


@config.command()
def schema() -> None:
    """JSON Schema of the configuration, for editors."""
    import json

    from agent.config.docs import schema as make

    click.echo(json.dumps(make(), indent=2, ensure_ascii=False))


@config.command()
def example() -> None:
    """A commented configuration file with every key."""
    from agent.config.docs import example as make

    click.echo(make(), nl=False)


@config.command("import")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), required=False)
def config_import(file: Path | None) -> None:
    """Turn the configuration of amazing-gitlab-exporter, FILE (- = standard input) and AGE_* variables, into one of cipush.

    What has no counterpart, or does not fit, is told on standard error. The output holds the secrets that the input does.
    Ends with 78 where the output is no valid configuration before somebody has changed it.
    """
    with _exit_codes():
        import sys

        from agent import config
        from agent.config.imported import PREFIX, imported
        from agent.secret import redact

        environ = config.process_environ()
        if file is None and not any(name.startswith(PREFIX) for name in environ):
            raise click.UsageError(f"There is nothing to import: name a file, or set {PREFIX}* variables.")
        found = imported(file, environ, sys.stdin.buffer if str(file) == "-" else None)
        click.echo(found.text, nl=False)
        for note in found.notes:
            click.echo(redact(note), err=True)
        if not found.loads:
            raise click.exceptions.Exit(EXIT_CONFIG)

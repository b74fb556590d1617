"""Commands that read: a refresh, its verdict, and the tables of a snapshot."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lib.cli import alerting, options
from lib.display import safe
from lib.model import SITUATIONS, PooltableError
from lib.output import FORMATS, rendered, to_json, write_private

if TYPE_CHECKING:
    from lib.environment import Environment
    from lib.snapshot import Snapshot


def _table_options(command: Callable[..., None]) -> Callable[..., None]:
    shared = (
        options.environment,
        options.situations,
        options.causes,
        click.option("--all", "every", is_flag=True, help="Every pair, not only the findings."),
        click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True),
        click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE"),
        click.option("--reveal", is_flag=True, help="Show e-mail addresses in full."),
    )
    for option in reversed(shared):
        command = option(command)
    return command


@click.command()
@options.environment
def refresh(name: str | None) -> None:
    """Read the sources and store a snapshot."""
    snapshot = _refreshed(options.opened(name))
    _say_state(snapshot)
    click.echo(f"Snapshot {snapshot.stamp}")
    if not snapshot.manifest["complete"]:
        sys.exit(options.NOT_READ)


@click.command()
@options.environment
@options.as_json
@click.option("--max", "limit", type=click.IntRange(min=0), default=0, show_default=True, help="Findings allowed.")
@click.option("--fail-on", multiple=True, type=click.Choice(list(SITUATIONS)), metavar="S", help="Count only these.")
@alerting.options
def check(name: str | None, as_json: bool, limit: int, fail_on: Sequence[str], **told: Any) -> None:
    """Refresh and judge, for cron and alerts."""
    from lib.views.verdict import verdict

    environment = options.opened(name)
    outlets = alerting.Outlets.of(environment, **told)
    try:
        snapshot = _refreshed(environment)
    except PooltableError as error:
        outlets.tell_failure(str(error))
        raise
    _say_state(snapshot)
    judged = verdict(snapshot, limit=limit, fail_on=fail_on)
    click.echo(to_json(judged) if as_json else judged["worst"])
    outlets.tell(judged, snapshot, fail_on)
    if not judged["complete"] or judged["suspicious"]:
        sys.exit(options.NOT_READ)
    sys.exit(0 if judged["ok"] else 1)


@click.command()
@_table_options
def findings(**chosen: Any) -> None:
    """List the latest snapshot's findings (--all: every pair)."""
    _show("findings", **chosen)


@click.command()
@_table_options
def accounts(**chosen: Any) -> None:
    """List the accounts behind them."""
    _show("accounts", **chosen)


@click.command()
@_table_options
def rows(**chosen: Any) -> None:
    """List the rows behind them."""
    _show("rows", **chosen)


@click.command()
@_table_options
def invocations(**chosen: Any) -> None:
    """List the trigger's invocations behind them."""
    _show("invocations", **chosen)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR")
@click.option("--engine", type=click.Choice(["duckdb", "spark"]), default="duckdb", show_default=True)
def reconcile(folder: Path, engine: str) -> None:
    """Judge one snapshot folder again and write its findings.parquet."""
    if engine == "spark":
        options.not_yet("reconcile --engine spark")
    from lib.snapshot import rejudge

    findings = rejudge(folder)
    click.echo(f"{findings.num_rows} findings written to {folder / 'findings.parquet'}")


def _refreshed(environment: "Environment") -> "Snapshot":
    on_terminal = sys.stderr.isatty()

    def progress(source: str, count: int) -> None:
        if on_terminal:
            click.echo(f"\r\033[K{source}: {count:,}", nl=False, err=True)

    snapshot = environment.refresh(progress)
    if on_terminal:
        click.echo("\r\033[K", nl=False, err=True)
    return snapshot


def _show(
    table: str,
    *,
    name: str | None,
    situations: Sequence[str],
    causes: Sequence[str],
    every: bool,
    form: str,
    output: Path | None,
    reveal: bool,
) -> None:
    from lib.views.selection import matching

    if form == "parquet" and not output and sys.stdout.isatty():
        raise click.UsageError("Parquet is no text for a terminal: name a file with -o FILE.")
    snapshot = options.opened(name).latest()
    _say_state(snapshot)
    content = rendered(
        matching(snapshot, table, situations=situations, causes=causes, every=every), form, reveal=reveal
    )
    if output:
        write_private(output, content)
    else:
        click.echo(content, nl=False)


def _say_state(snapshot: "Snapshot") -> None:
    """Warn on stderr about a snapshot that does not show everything, or that looks wrong."""
    for reason in (*snapshot.manifest["reasons"], *snapshot.wiring.warnings):
        click.echo(f"Warning: {safe(reason)}", err=True)

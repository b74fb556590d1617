"""The command line: ``python -m lib``. What each command does and how it exits is the product's contract."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from lib.config import load
from lib.display import counted, safe
from lib.model import CAUSES, SITUATIONS, NotAvailableYet, PooltableError, Refused
from lib.output import FORMATS, rendered, to_json, write_private

if TYPE_CHECKING:
    from lib.environment import Environment
    from lib.repair import Run, Told
    from lib.repair.plan import Plan
    from lib.snapshot import Snapshot

_NOT_READ = 3


class _Shown(click.ClickException):
    """One of our errors as click shows it: its sentence on stderr, its exit code."""

    def __init__(self, error: PooltableError) -> None:
        super().__init__(safe(str(error)))
        self.error = error

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # click reads it from the instance
        """Return the error's own."""
        return self.error.exit_code


class _Commands(click.Group):
    """Turns our errors into one sentence, unless --debug asks for the traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except PooltableError as error:
            if ctx.params.get("debug"):
                raise
            raise _Shown(error) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Who signed up and never reached your database, why, and one click to put it right."""
    if not debug:
        sys.excepthook = _one_sentence


def _one_sentence(kind: type[BaseException], error: BaseException, _trace: Any) -> None:
    click.echo(f"Error: {kind.__name__}: {safe(str(error))}. This is a fault of Pooltable; see --debug.", err=True)


_environment = click.option("--env", "name", metavar="E", help="The environment; needed when there are several.")
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else.")
_yes = click.option("--yes", is_flag=True, help="Answer the question with yes. Never releases a threshold.")
_why = click.option("--why", metavar="TEXT", help="The reason, for the journal.")
_situations = click.option(
    "--situation", "situations", multiple=True, type=click.Choice(list(SITUATIONS)), metavar="S", help="Only these."
)
_causes = click.option("--cause", "causes", multiple=True, type=click.Choice(list(CAUSES)), metavar="C")


def _table_options(command: Callable[..., None]) -> Callable[..., None]:
    options = (
        _environment,
        _situations,
        _causes,
        click.option("--all", "every", is_flag=True, help="Every pair, not only the findings."),
        click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True),
        click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE"),
        click.option("--reveal", is_flag=True, help="Show e-mail addresses in full."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@_environment
def refresh(name: str | None) -> None:
    """Read the sources and store a snapshot."""
    snapshot = _refreshed(_open(name))
    _say_state(snapshot)
    click.echo(f"Snapshot {snapshot.stamp}")
    if not snapshot.manifest["complete"]:
        sys.exit(_NOT_READ)


@main.command()
@_environment
@_as_json
@click.option("--max", "limit", type=click.IntRange(min=0), default=0, show_default=True, help="Findings allowed.")
@click.option("--fail-on", multiple=True, type=click.Choice(list(SITUATIONS)), metavar="S", help="Count only these.")
def check(name: str | None, as_json: bool, limit: int, fail_on: Sequence[str]) -> None:
    """Refresh and judge, for cron and alerts."""
    from lib.views.verdict import verdict

    snapshot = _refreshed(_open(name))
    _say_state(snapshot)
    judged = verdict(snapshot, limit=limit, fail_on=fail_on)
    click.echo(to_json(judged) if as_json else judged["worst"])
    if not judged["complete"] or judged["suspicious"]:
        sys.exit(_NOT_READ)
    sys.exit(0 if judged["ok"] else 1)


@main.command()
@_table_options
def findings(**chosen: Any) -> None:
    """List the latest snapshot's findings (--all: every pair)."""
    _show("findings", **chosen)


@main.command()
@_table_options
def accounts(**chosen: Any) -> None:
    """List the accounts behind them."""
    _show("accounts", **chosen)


@main.command()
@_table_options
def rows(**chosen: Any) -> None:
    """List the rows behind them."""
    _show("rows", **chosen)


@main.command()
@_table_options
def invocations(**chosen: Any) -> None:
    """List the trigger's invocations behind them."""
    _show("invocations", **chosen)


@main.command()
@_environment
@_situations
@_causes
@click.option("--id", "ids", multiple=True, metavar="ID", help="An account's Username or sub, or a row's id.")
@click.option("--accept-suspicious", is_flag=True, help="Plan on a suspicious snapshot; the journal keeps who did.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, metavar="FILE")
def plan(
    name: str | None,
    situations: Sequence[str],
    causes: Sequence[str],
    ids: Sequence[str],
    accept_suspicious: bool,
    output: Path,
) -> None:
    """Say what a repair would write, and write nothing. FILE is what `apply` takes."""
    planned = _open(name).plan(
        situations=situations or None, causes=causes or None, ids=ids or None, accept_suspicious=accept_suspicious
    )
    planned.save(output)
    click.echo(planned.text())
    for warning in planned.warnings:
        click.echo(f"Warning: {safe(warning)}", err=True)


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="PLAN")
@_yes
@_why
@click.option("--release", type=int, metavar="N", help="Release a plan over the threshold; N is its number of steps.")
@_as_json
def apply(file: Path, yes: bool, why: str | None, release: int | None, as_json: bool) -> None:
    """Carry out a plan: one conditional write per step, the journal first."""
    from lib.repair.plan import Plan

    planned = Plan.load(file)
    environment = _open(planned.environment)
    _agreed(planned, yes)
    _finish(environment.apply(planned, why=why, release=release, progress=_told(as_json)), as_json)


@main.command()
@click.argument("run_id")
@_yes
@_why
@_as_json
def undo(run_id: str, yes: bool, why: str | None, as_json: bool) -> None:
    """Reverse a run where the rows are untouched since."""
    name = _journal_environment(run_id)
    environment = _open(name)
    planned = environment.undo_plan(run_id)
    for note in planned.notes:
        click.echo(safe(note), err=True)
    _agreed(planned, yes)
    _finish(environment.apply(planned, why=why, progress=_told(as_json)), as_json)


@main.command()
@click.argument("run_id", required=False)
@_as_json
def runs(run_id: str | None, as_json: bool) -> None:
    """List the journal's runs, newest first; with RUN_ID its steps too."""
    from lib.journal import Journal

    found = Journal(load().journal_url).runs(run_id=run_id)
    if as_json:
        click.echo(to_json(found))
        return
    if not found:
        click.echo("No run yet: nothing was ever repaired from here.", err=True)
    for run in found:
        click.echo(safe("  ".join(str(run[key]) for key in ("run_id", "environment", "state", "started_at", "who"))))
        for step in run.get("steps_detail", ()):
            click.echo(safe("  {number} {state} {action} {row_id} {message}".format_map(step)))


@main.command()
@_environment
@_as_json
def wiring(name: str | None, as_json: bool) -> None:
    """Show the chain behind the pool, and whether each link answers."""
    chain = _open(name).chain()
    if as_json:
        click.echo(to_json(chain))
    else:
        for link in chain["checks"]:
            click.echo(safe(f"{link['status']:8} {link['title']} {link['fix'] or ''}".rstrip()))
    sys.exit(0 if all(link["status"] == "ok" for link in chain["checks"]) else 1)


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR")
@click.option("--engine", type=click.Choice(["duckdb", "spark"]), default="duckdb", show_default=True)
def reconcile(folder: Path, engine: str) -> None:
    """Judge one snapshot folder again and write its findings.parquet."""
    if engine == "spark":
        _not_yet("reconcile --engine spark")
    from lib.snapshot import rejudge

    findings = rejudge(folder)
    click.echo(f"{findings.num_rows} findings written to {folder / 'findings.parquet'}")


@main.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="P", help="The port (0: any free one).")
@click.option("--accounts", type=click.IntRange(min=1), default=3000, show_default=True, metavar="N")
@click.option("--seed", type=int, default=7, show_default=True, metavar="S")
def demo(port: int, accounts: int, seed: int) -> None:
    """Run the embedded AWS world alone, and print the configuration for it."""
    from lib.demo import world

    world.serve(load().home, port=port, accounts=accounts, seed=seed)


@main.command()
@_environment
@click.option("--repair", is_flag=True, help="With the actions that repairs need.")
def policy(name: str | None, repair: bool) -> None:
    """Print the least-privilege IAM policy (not available yet)."""
    _not_yet("policy")


@main.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
def init(path: Path | None) -> None:
    """Write a commented pooltable.toml (not available yet)."""
    _not_yet("init")


@main.command()
@_environment
@click.option("--id", "id_", required=True, metavar="ID")
@click.option("--why", required=True, metavar="TEXT")
@click.option("--until", metavar="DATE")
def accept(name: str | None, id_: str, why: str, until: str | None) -> None:
    """Mark a finding as judged by a person (not available yet)."""
    _not_yet("accept")


@main.command()
@_environment
@click.option("--id", "id_", required=True, metavar="ID")
def forget(name: str | None, id_: str) -> None:
    """Remove one person from snapshots and journal images (not available yet)."""
    _not_yet("forget")


def _not_yet(command: str) -> NoReturn:
    raise NotAvailableYet(f"`{command}` is not available yet in this version. Nothing was done.")


def _open(name: str | None) -> "Environment":
    from lib import connect

    return connect(name)


def _journal_environment(run_id: str) -> str:
    from lib.journal import Journal

    found = Journal(load().journal_url).runs(run_id=run_id)
    return str(found[0]["environment"])


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

    snapshot = _open(name).latest()
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


def _agreed(planned: "Plan", yes: bool) -> None:
    """Ask before anything is written; refuse where nobody can answer."""
    if yes or not planned.steps:
        return
    if not sys.stdin.isatty():
        raise Refused("Nothing was written: there is no terminal to ask on. Say --yes to carry the plan out.")
    click.echo(planned.text(), err=True)
    if not click.confirm(f"Carry out {counted(len(planned.steps), 'step')}?", err=True):
        raise Refused("Nothing was written: you said no.")


def _told(as_json: bool) -> "Told | None":
    return None if as_json else lambda line, _settled, _total: click.echo(safe(line))


def _finish(run: "Run", as_json: bool) -> NoReturn:
    if as_json:
        click.echo(to_json(run.to_json()))
    elif run.message:
        click.echo(safe(run.message), err=True)
    sys.exit(run.exit_code)

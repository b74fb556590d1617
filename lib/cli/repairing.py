"""Commands that plan, write and take back, and the journal of what they did."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from lib.cli import options
from lib.config import load
from lib.display import counted, safe
from lib.model import SITUATIONS, Refused
from lib.output import to_json, write_private

if TYPE_CHECKING:
    from lib.journal import Journal
    from lib.repair import Run, Told
    from lib.repair.plan import Plan

_HEAD = re.compile(r"[0-9a-f]{64}")
_EXPORT = "Write the audit to FILE as JSON lines: runs, steps, decisions and the chain; e-mails masked."


@click.command()
@options.environment
@options.situations
@options.causes
@click.option("--id", "ids", multiple=True, metavar="ID", help="An account's Username or sub, or a row's id.")
@click.option("--action", type=click.Choice(["replay"]), help="Run the trigger again for orphaned accounts instead.")
@click.option("--accept-suspicious", is_flag=True, help="Plan on a suspicious snapshot; the journal keeps who did.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, metavar="FILE")
def plan(
    name: str | None,
    situations: Sequence[str],
    causes: Sequence[str],
    ids: Sequence[str],
    action: str | None,
    accept_suspicious: bool,
    output: Path,
) -> None:
    """Say what a repair would write, and write nothing. FILE is what `apply` takes."""
    environment = options.opened(name)
    if action == "replay":
        if accept_suspicious or set(situations) - {"orphaned_account"}:
            raise click.UsageError("--action replay is for orphaned accounts, on a snapshot that is not suspicious.")
        planned = environment.replay_plan(causes=causes or None, ids=ids or None)
    else:
        planned = environment.plan(
            situations=situations or None, causes=causes or None, ids=ids or None, accept_suspicious=accept_suspicious
        )
    planned.save(output)
    click.echo(planned.text())
    for warning in planned.warnings:
        click.echo(f"Warning: {safe(warning)}", err=True)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="PLAN")
@options.yes
@options.why
@click.option("--release", type=int, metavar="N", help="Release a plan over the threshold; N is its number of steps.")
@options.as_json
def apply(file: Path, yes: bool, why: str | None, release: int | None, as_json: bool) -> None:
    """Carry out a plan: one conditional write per step, the journal first."""
    from lib.repair.plan import Plan

    planned = Plan.load(file)
    environment = options.opened(planned.environment)
    _agreed(planned, yes)
    _finish(environment.apply(planned, why=why, release=release, progress=_told(as_json)), as_json)


@click.command()
@click.argument("run_id")
@options.yes
@options.why
@options.as_json
@click.option("--step", "steps", type=int, multiple=True, metavar="N", help="Only this step of the run.")
def undo(run_id: str, yes: bool, why: str | None, as_json: bool, steps: Sequence[int]) -> None:
    """Reverse a run where the rows are untouched since."""
    name = _journal_environment(run_id)
    environment = options.opened(name)
    planned = environment.undo_plan(run_id, steps=steps or None)
    for note in planned.notes:
        click.echo(safe(note), err=True)
    _agreed(planned, yes)
    _finish(environment.apply(planned, why=why, progress=_told(as_json)), as_json)


@click.command()
@click.argument("run_id", required=False)
@options.as_json
@click.option("--export", "export", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help=_EXPORT)
@click.option("--reveal", is_flag=True, help="Export e-mail addresses in full.")
@click.option("--verify", is_flag=True, help="Check that the journal's hash chain holds; exit 1 where it breaks.")
@click.option("--head", metavar="HEAD", help="With --verify: a head that a run printed earlier must be in the chain.")
def runs(run_id: str | None, as_json: bool, export: Path | None, reveal: bool, verify: bool, head: str | None) -> None:
    """List the journal's runs, newest first; with RUN_ID its steps too."""
    from lib.journal import Journal

    if head and not _HEAD.fullmatch(head):
        raise click.UsageError("A head is 64 hexadecimal digits, as a run prints it when it ends.")
    journal = Journal(load().journal_url)
    if verify:
        _verify(journal, head)
    elif export:
        write_private(export, "".join(journal.audit(reveal=reveal)).encode())
        click.echo(f"Written to {export}.", err=True)
    else:
        _list_runs(journal, run_id, as_json)


@click.command()
@options.environment
@click.option("--id", "id_", required=True, metavar="ID", help="An account's Username or sub, or a row's id.")
@click.option("--why", required=True, metavar="TEXT")
@click.option("--until", metavar="DATE", help="The last day, UTC, on which it is not counted; without it for good.")
def accept(name: str | None, id_: str, why: str, until: str | None) -> None:
    """Mark a finding as judged by a person: still listed, no longer counted."""
    from lib.judging import last_moment

    ends = last_moment(until) if until else None
    situations = options.opened(name).accept_finding(id_, why=why, until=ends)
    listed = ", ".join(SITUATIONS[situation] for situation in situations)
    click.echo(safe(f"Accepted {f'until the end of {until} (UTC)' if until else 'for good'}: {listed}."))


@click.command()
@options.environment
@click.option("--id", "id_", required=True, metavar="ID", help="An account's Username or sub, or a row's id.")
def forget(name: str | None, id_: str) -> None:
    """Remove one person from snapshots and journal images, keeping digests."""
    environment = options.opened(name)
    lines = environment.forget(id_)
    if not lines:
        click.echo("Nothing kept here speaks of that id. If somebody is meant to be known by it, check the spelling.")
        return
    click.echo(f"{counted(lines, 'line')} of this person taken out of the snapshots and the journal.")
    click.echo(
        "Only what Pooltable keeps was changed: while the account, the row or the trigger's log is still in AWS, the "
        "next refresh reads it again. Plans and exports saved as files, and backups, are yours to remove.",
        err=True,
    )


def _verify(journal: "Journal", head: str | None) -> None:
    verdict = journal.verify(head)
    older = f" It vouches for nothing older: {counted(verdict.before, 'run')} or decisions." if verdict.before else ""
    if verdict.broken:
        click.echo(safe(f"The journal's chain is broken. {verdict.broken}"), err=True)
        sys.exit(1)
    click.echo(f"The chain holds: {counted(verdict.records, 'record')}, head {verdict.head or 'none yet'}.{older}")


def _list_runs(journal: "Journal", run_id: str | None, as_json: bool) -> None:
    if as_json:
        click.echo(to_json(journal.runs(run_id=run_id)))
        return
    found = journal.history(run_id=run_id)
    if not found:
        click.echo("No run yet: nothing was ever repaired from here.", err=True)
    for run in found:
        kind = f"undo of {run['undo_of']}" if run["undo_of"] else "repair"
        facts = (run["run_id"], run["environment"], run["state"], kind, counted(run["steps"], "step"))
        click.echo(safe("  ".join((*facts, run["started_at"], run["who"], run["why"] or ""))).rstrip())
    for step in journal.steps(run_id) if run_id else ():
        click.echo(safe("  {number} {state} {action} {row_id} {message}".format_map(step)))


def _journal_environment(run_id: str) -> str:
    from lib.journal import Journal

    found = Journal(load().journal_url).runs(run_id=run_id)
    return str(found[0]["environment"])


def _agreed(planned: "Plan", yes: bool) -> None:
    """Ask before anything is written; refuse where nobody can answer."""
    if yes or not planned.steps:
        return
    if not sys.stdin.isatty():
        raise Refused("Nothing was written: there is no terminal to ask on. Say --yes to carry the plan out.")
    click.echo(planned.text(), err=True)
    steps = counted(len(planned.steps), "step")
    if planned.must_be_typed:
        doing = "Run the trigger again in" if any(step.replays for step in planned.steps) else "Carry out"
        if click.prompt(f"{doing} {steps}: type the count", type=int, err=True) != len(planned.steps):
            raise Refused("Nothing was written: that is not the count.")
    elif not click.confirm(f"Carry out {steps}?", err=True):
        raise Refused("Nothing was written: you said no.")


def _told(as_json: bool) -> "Told | None":
    return None if as_json else lambda line, _settled, _total: click.echo(safe(line))


def _finish(run: "Run", as_json: bool) -> NoReturn:
    if as_json:
        click.echo(to_json(run.to_json()))
    elif run.message:
        click.echo(safe(run.message), err=True)
    click.echo(f"Journal head {run.record['head']}", err=True)
    sys.exit(run.exit_code)

"""Commands about the chain itself: what it is, what it may do, how it is set up, and the embedded one."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lib.cli import options
from lib.config import load
from lib.display import safe
from lib.model import ConfigError
from lib.output import to_json

if TYPE_CHECKING:
    from lib.aws.checks import Check
    from lib.model import Wiring
    from lib.set_up import Proposal


@click.command()
@options.environment
@options.as_json
def wiring(name: str | None, as_json: bool) -> None:
    """Show the chain behind the pool, and whether each link answers."""
    from lib.environment.wired import contract

    found, checks = options.opened(name).wiring()
    for sentence in found.warnings:
        click.echo(f"Warning: {safe(sentence)}", err=True)
    if as_json:
        click.echo(to_json(contract(found, checks)))
    else:
        for what, value in _links(found).items():
            click.echo(f"{what:12} {safe(value or 'not known')}")
        for check in checks:
            click.echo("\n".join(_lines(check)))
    sys.exit(0 if all(check.status == "ok" for check in checks) else 1)


def _links(found: "Wiring") -> dict[str, str | None]:
    score = found.correlation_scores.get(found.correlation or "")
    return {
        "pool": found.pool,
        "trigger": ", ".join(found.triggers) or None,
        "function": ", ".join(found.functions) or None,
        "api": found.graphql_url or found.api_id,
        "table": found.table,
        "log group": ", ".join(found.log_groups) or None,
        "rows by": found.correlation
        and f"{found.correlation} ({found.correlation_source}{'' if score is None else f', {score:.0%}'})",
        "called as": found.identity,
    }


def _lines(check: "Check") -> Iterator[str]:
    """Return a check in words: one line where all is well, else with its cause, its fix and its impact below."""
    if check.status == "ok":
        yield safe(f"{check.status:8} {check.title}{f': {check.cause}' if check.cause else ''}")
        return
    yield safe(f"{check.status:8} {check.title}")
    for name in ("cause", "fix", "impact"):
        if words := getattr(check, name):
            yield safe(f"{'':8}   {name.title()}: {words}")


@click.command()
@options.environment
@click.option("--repair", is_flag=True, help="With the actions that repairs need.")
def policy(name: str | None, repair: bool) -> None:
    """Print the least-privilege IAM policy for what the pool leads to."""
    found = options.opened(name).policy(repair=repair)
    for sentence in found.left_out:
        click.echo(f"Warning: {safe(sentence)}", err=True)
    click.echo(found.text())


@click.command()
@click.argument(
    "path", required=False, default=".", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="[PATH]"
)
@click.option("--profile", metavar="P", help="An AWS profile; it is written into the file.")
@click.option("--region", metavar="R", help="Where to list the pools, when PATH has no Amplify project.")
def init(path: Path, profile: str | None, region: str | None) -> None:
    """Write a commented pooltable.toml, from the Amplify project in PATH or else the account's user pools."""
    from lib import amplify, set_up

    file = set_up.target()
    files, unread = set_up.amplify_files(path)
    found, unreadable = amplify.environments(files)
    for sentence in (*unread, *unreadable):
        click.echo(f"Warning: {safe(sentence)}", err=True)
    proposals = set_up.of_amplify(found, profile, path.resolve().name) if found else _of_account(region, profile)
    set_up.write(set_up.text(proposals), file)
    click.echo(f"Wrote {file}:")
    for each in proposals:
        click.echo(f"  {each.name}: {safe(each.pool if each.pool and each.active else 'commented out, see there')}")


def _of_account(region: str | None, profile: str | None) -> "list[Proposal]":
    from lib import set_up
    from lib.aws import pools

    account = pools.account(region, profile)
    click.echo(f"No Amplify project there: listing the user pools in {account.region}.", err=True)
    found = pools.listed(account)
    if not found:
        raise ConfigError(f"There is no user pool in {account.region} for this account. Name another --region.")
    return set_up.of_pools(found, profile)


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="P", help="The port (0: any free one).")
@click.option("--accounts", type=click.IntRange(min=1), default=3000, show_default=True, metavar="N")
@click.option("--seed", type=int, default=7, show_default=True, metavar="S")
def demo(port: int, accounts: int, seed: int) -> None:
    """Run the embedded AWS world alone, and print the configuration for it."""
    from lib.demo import world

    world.serve(load().home, port=port, accounts=accounts, seed=seed)

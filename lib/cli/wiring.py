"""Commands about the chain itself: what it is, what it may do, how it is set up, and the embedded one."""

import sys
from pathlib import Path

import click

from lib.cli import options
from lib.config import load
from lib.display import safe
from lib.output import to_json


@click.command()
@options.environment
@options.as_json
def wiring(name: str | None, as_json: bool) -> None:
    """Show the chain behind the pool, and whether each link answers."""
    chain = options.opened(name).chain()
    if as_json:
        click.echo(to_json(chain))
    else:
        for link in chain["checks"]:
            click.echo(safe(f"{link['status']:8} {link['title']} {link['fix'] or ''}".rstrip()))
    sys.exit(0 if all(link["status"] == "ok" for link in chain["checks"]) else 1)


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
@click.argument("path", required=False, type=click.Path(path_type=Path))
def init(path: Path | None) -> None:
    """Write a commented pooltable.toml (not available yet)."""
    options.not_yet("init")


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="P", help="The port (0: any free one).")
@click.option("--accounts", type=click.IntRange(min=1), default=3000, show_default=True, metavar="N")
@click.option("--seed", type=int, default=7, show_default=True, metavar="S")
def demo(port: int, accounts: int, seed: int) -> None:
    """Run the embedded AWS world alone, and print the configuration for it."""
    from lib.demo import world

    world.serve(load().home, port=port, accounts=accounts, seed=seed)

"""What the commands share: options, and the environment that a name opens."""

from typing import TYPE_CHECKING, NoReturn

import click

from lib.model import CAUSES, SITUATIONS, NotAvailableYet

if TYPE_CHECKING:
    from lib.environment import Environment

NOT_READ = 3

environment = click.option("--env", "name", metavar="E", help="The environment; needed when there are several.")
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else.")
yes = click.option("--yes", is_flag=True, help="Answer the question with yes. Never releases a threshold.")
why = click.option("--why", metavar="TEXT", help="The reason, for the journal.")
situations = click.option(
    "--situation", "situations", multiple=True, type=click.Choice(list(SITUATIONS)), metavar="S", help="Only these."
)
causes = click.option("--cause", "causes", multiple=True, type=click.Choice(list(CAUSES)), metavar="C")


def opened(name: str | None) -> "Environment":
    """Return the environment of this name, opened."""
    from lib import connect

    return connect(name)


def not_yet(command: str) -> NoReturn:
    """Raise what a command of the contract says that this version cannot do."""
    raise NotAvailableYet(f"`{command}` is not available yet in this version. Nothing was done.")

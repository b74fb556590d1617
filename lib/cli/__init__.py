"""The command line: ``python -m lib``. What each command does and how it exits is the product's contract."""

import sys
from typing import Any

import click

from lib.cli import looking, repairing, wiring
from lib.display import safe
from lib.model import PooltableError


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


for _command in (
    looking.refresh,
    looking.check,
    looking.findings,
    looking.accounts,
    looking.rows,
    looking.invocations,
    repairing.plan,
    repairing.apply,
    repairing.undo,
    repairing.runs,
    repairing.accept,
    repairing.forget,
    wiring.wiring,
    wiring.policy,
    wiring.init,
    looking.reconcile,
    wiring.demo,
):
    main.add_command(_command)

"""Pooltable: who signed up and never reached your database, why, and one click to put it right.

The map: sources (``aws``, ``logparse``) -> ``refresh`` -> ``reconcile`` -> ``snapshot`` -> ``views`` -> pages (``ui``),
command line (``cli``) and notebooks; and back by one door: ``repair``, with the ``journal`` first. ``environment``
holds one pool's ends of it together; ``demo`` is a whole AWS world to try it on; ``trigger`` is the Lambda itself and
stands alone.

Around them: ``set_up`` (with ``amplify``) writes the first configuration; ``matching`` says how rows are matched to
accounts; ``judging`` keeps accepted findings, ``person`` finds one person in a text; ``rescue`` extends an API key;
``alerts`` and ``metrics`` tell what ``check`` found; ``output``, ``charts`` and ``notebook`` show it. All speak the
words of ``model``; ``config`` reads the settings, ``display`` makes a user's text safe to show.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lib.environment import Environment

__all__ = ["connect"]


def connect(name: str | None = None) -> "Environment":
    """Open an environment of ``pooltable.toml``, or ``demo``; without a name, the only one there is.

    Raises ``ConfigError`` when the name or the configuration is wrong. Nothing is read from AWS yet.
    """
    from lib import config, environment
    from lib.demo.world import resolved

    loaded = config.load()
    return environment.Environment(loaded, resolved(loaded.settings(name), loaded.home))

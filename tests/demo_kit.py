"""The demo's verdicts against the truth of the generator that made it.

    python tests/demo_kit.py [ACCOUNTS]

prints the confusion matrix of situations and causes: a line for what is true, a column for what was found.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from lib import config
from lib.demo.world import World
from lib.environment import Environment
from lib.model import email_key, moment
from lib.snapshot import Snapshot

NOTHING = "(nothing)"


def subject(pair: dict[str, Any]) -> tuple[str, str | None]:
    """Whom a line is about, as the generator's truth names it."""
    if pair["situation"] == "duplicate":
        return "email", email_key(pair["email"])
    return ("account", pair["account_id"]) if pair["account_id"] else ("row", pair["row_id"])


def guest(pair: dict[str, Any]) -> bool:
    """Whether a live sign-up, and not the generator, brought it about."""
    return "guest" in str(pair["email"] or pair["row_email"])


def verdicts(world: World, snapshot: Snapshot) -> pd.DataFrame:
    """One line per subject: what is true and what was found, as ``situation`` or ``situation/cause``."""
    started = moment(snapshot.manifest["sources"]["accounts"]["started_at"])
    truth = {(line["kind"], line["id"]): _verdict(line) for line in world.truth(started).to_dict("records")}
    pairs = {subject(pair): pair for pair in snapshot.table("pairs").to_pylist()}
    found = {key: _verdict(pair) for key, pair in pairs.items() if key in truth or not guest(pair)}
    keys = sorted(truth.keys() | found.keys(), key=str)
    told = [(truth.get(key, NOTHING), found.get(key, NOTHING)) for key in keys]
    return pd.DataFrame(told, index=pd.Index(keys, tupleize_cols=False), columns=["truth", "found"])


def _verdict(line: dict[str, Any]) -> str:
    return f"{line['situation']}/{line['cause']}" if isinstance(line["cause"], str) else str(line["situation"])


def confusion(told: pd.DataFrame) -> pd.DataFrame:
    """How often each verdict that is true was found as which."""
    return pd.crosstab(told["truth"], told["found"])


def main() -> None:
    accounts = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    with tempfile.TemporaryDirectory() as home, World(accounts=accounts) as world:
        settings = config.load({"POOLTABLE_HOME": home}, Path(home))
        told = verdicts(world, Environment(settings, world.settings()).refresh())
    matrix = confusion(told)
    numbers = {name: number for number, name in enumerate(matrix.columns, 1)}
    sys.stdout.write(matrix.rename(columns=numbers).to_string() + "\n\n")
    sys.stdout.write("".join(f"{number:3} {name}\n" for name, number in numbers.items()))
    wrong = int((told["truth"] != told["found"]).sum())
    sys.stdout.write(f"{len(told)} verdicts, {wrong} off the diagonal\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

"""The process under test: a parent that has imported everything forks one for each command, so that starting is quick.

    python tests/proof_child.py CONFIG ENVIRONMENT    (CONFIG: a pickled lib.config.Config)

A command is a line of JSON on stdin: {"do": "apply" | "undo", "plan": FILE, "run": RUN_ID, "who": NAME, "told": FILE}.
The parent answers with the child's process id; the child begins at the next line on stdin. When it has ended and is
reaped (a zombie would still hold the lease), the parent prints its wait status. What it acknowledges goes to ``told``.
"""

import json
import os
import pickle
import sys
import traceback
from pathlib import Path
from typing import Any, TextIO

# What a run would import first thing.
import pyarrow.pandas_compat  # noqa: F401
import sqlalchemy.dialects.sqlite  # noqa: F401

from lib.aws.session import SERVICES, Aws
from lib.config import Config, Settings
from lib.environment import Environment
from lib.model import PooltableError
from lib.repair.plan import Plan


def main(config_file: str, name: str) -> None:
    config: Config = pickle.loads(Path(config_file).read_bytes())
    settings = config.settings(name)
    aws = Aws(settings)
    for service in SERVICES:
        aws.client(service)
    aws.writer("dynamodb")
    while line := _line():
        command = json.loads(line)
        child = os.fork()
        if not child:
            _perform(command, config, settings, aws)
        _say(child)
        _, status = os.waitpid(child, 0)
        _say(status)


def _perform(command: dict[str, Any], config: Config, settings: Settings, aws: Aws) -> None:
    """Do what is asked as a process of its own would, and end."""
    _line()
    status = 1
    try:
        with Path(command["told"]).open("a", encoding="utf-8") as told:
            status = _done(command, config, settings, aws, told)
    finally:
        if sys.exc_info()[0]:
            traceback.print_exc()
        os._exit(status)


def _done(command: dict[str, Any], config: Config, settings: Settings, aws: Aws, told: TextIO) -> int:
    environment = Environment(config, settings)
    environment.aws = aws  # its clients are made; nothing has been asked through them yet

    def acknowledge(line: str, *_: int) -> None:
        told.write(line + "\n")
        told.flush()

    try:
        if command["do"] == "undo":
            run = environment.undo(command["run"], why="proof", progress=acknowledge)
        else:
            plan = Plan.load(Path(command["plan"]))
            run = environment.apply(plan, why="proof", who=command["who"], progress=acknowledge)
    except PooltableError as error:
        acknowledge(f"error {type(error).__name__}: {error}")
        return 4
    acknowledge(f"ended {run.state}: {run.message}")
    return run.exit_code


def _line() -> str:
    # Byte by byte: what comes after the line is for the child, not for a buffer here.
    taken = b""
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        taken += byte
    return taken.decode()


def _say(what: int) -> None:
    os.write(1, f"{what}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)  # an interpreter that takes itself apart speaks of it

"""The proof at length: plans applied and undone by processes that are killed; a proxy counts what reached the table.

    python bench/proof.py [--kills N] [--seed S] [--dynamodb URL]

Prints the figures and ends with 1 when a law was broken, or when no kill hit or no fault fired. Half of the kills are
spent on each writer. ``--dynamodb`` is the address of a DynamoDB to use instead of the embedded one, such as DynamoDB
Local; the API's stand-in does not write there, so then all are the direct writer's.
"""

import argparse
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import conftest  # noqa: E402, F401 - nothing but this machine may be reached, no settings of AWS but our own
from proof_kit import Figures, campaign  # noqa: E402
from proof_stage import KINDS, stage  # noqa: E402

_BATCH = 50


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dynamodb")
    asked = parser.parse_args()
    kinds = KINDS if asked.dynamodb is None else [kind for kind in KINDS if kind[0] == "dynamodb"]
    figures, began, told = Figures(), time.monotonic(), 0
    while figures.kills.total() < asked.kills:
        left = asked.kills - figures.kills.total()
        writer, versioned = kinds[figures.stages % len(kinds)]
        with stage(writer, versioned, asked.dynamodb) as place:
            campaign(place, figures, min(_BATCH, left), asked.seed + 1000 * figures.stages)
        figures.stages += 1
        for breach in figures.details[told:]:
            print(breach)
        told = len(figures.details)
        print(
            f"{time.monotonic() - began:.0f} s, last {writer}{' versioned' * versioned}: {figures.text()}", flush=True
        )
    for name, hits in sorted(figures.kills.items()):
        print(f"  {hits:4} killed at {name}")
    for name, fired in sorted(figures.faults.items()):
        print(f"  {fired:4} {name}")
    return 0 if figures.holds else 1


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)

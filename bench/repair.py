"""500 creates through the whole protocol, one step at a time against several side by side, on the embedded world.

    .venv/bin/python bench/repair.py [STEPS] [AT_ONCE] [LATENCY_MS]

LATENCY_MS is waited before every call to the world, as the way to a region takes it; the embedded world answers from
the same two cores that carry out the steps, so without it little is there to be waited for.
"""

import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import lib
from lib import repair
from lib.aws.writers import World as Written
from lib.demo.world import World
from lib.environment import Environment
from lib.journal import Journal
from lib.repair.plan import Plan


class Distant:
    """A world that takes its time."""

    def __init__(self, world: Written, latency_s: float) -> None:
        self._world, self._latency_s = world, latency_s

    def __getattr__(self, name: str) -> object:
        found = getattr(self._world, name)
        if not callable(found) or name.startswith("_"):
            return found

        def called(*given: object, **named: object) -> object:
            time.sleep(self._latency_s)
            return found(*given, **named)

        return called


def seconds(env: Environment, plan: Plan, at_once: int, latency_s: float) -> float:
    """Apply the plan with a journal of its own, and return how long that took."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(f"sqlite:///{folder}/journal.db")
        world = Distant(env._world(), latency_s)  # noqa: SLF001
        began = time.perf_counter()
        run = repair.apply(
            plan,
            world,
            journal,
            who="bench",
            settings=env.settings,
            records=10**6,
            at_once=at_once,
            release=len(plan.steps),
        )
        took = time.perf_counter() - began
        assert run.state == "done", run
        assert run.record["done"] == len(plan.steps), run
        assert journal.verify().broken is None
        journal.close()
    return took


def main() -> None:
    count, at_once = (int(each) for each in [*sys.argv[1:3], *["500", "4"][len(sys.argv[1:3]) :]])
    latency_s = float(sys.argv[3]) / 1000 if len(sys.argv) > 3 else 0.0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["POOLTABLE_HOME"] = folder
        os.chdir(folder)
        with World(accounts=count * 20 + 200, home=Path(folder)):
            env = lib.connect("demo")
            env.refresh()
            plan = env.plan(situations=["orphaned_account"])
            plan = replace(plan, over_threshold=True, steps=plan.steps[: 2 * count])
            # In turns, so that whatever else the machine does disturbs both alike.
            quarters = [replace(plan, steps=plan.steps[first::4]) for first in range(4)]
            took = [
                seconds(env, part, at, latency_s) / len(part.steps)
                for part, at in zip(quarters, [1, at_once] * 2, strict=True)
            ]
            alone, abreast = (took[0] + took[2]) / 2, (took[1] + took[3]) / 2
            print(f"twice {len(plan.steps) // 2} creates through {plan.writer}, {1000 * latency_s:g} ms away")
            print(f"one at a time: {1000 * alone:.1f} ms a step; {at_once} at once: {1000 * abreast:.1f} ms a step")
            print(f"ratio {alone / abreast:.2f}")


if __name__ == "__main__":
    main()

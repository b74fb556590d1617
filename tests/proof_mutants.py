"""Ways to spoil the repair protocol, each of which the proof must notice.

    python tests/proof_mutants.py [NAME ...]

Each is made in a copy of the tree, where the tests that prove the protocol are run: they must fail. Ends with 1 when
one of them survived.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Mutant:
    """One text replaced by another, and the tests that are to notice (pytest's -k)."""

    file: str
    old: str
    new: str
    tests: str


MUTANTS = {
    "no condition": Mutant(
        "lib/aws/table.py",
        '"ConditionExpression": " AND ".join(self._terms)',
        '"ConditionExpression": "(" + " AND ".join(self._terms) + f") OR attribute_exists({next(iter(self._names))})"',
        "app_writes and dynamodb",
    ),
    "outcome before write": Mutant(
        "lib/repair/worker.py",
        "        outcome = carry_out(self.world, step, at, correlation)\n",
        '        self._record(run_id, Outcome(step.number, "done", after=step.wanted(step.before, at)))\n'
        "        outcome = carry_out(self.world, step, at, correlation)\n",
        "apply_killed and dynamodb",
    ),
    "no settle": Mutant(
        "lib/repair/worker.py",
        "open_steps = self.journal.open_steps(self.lease.environment, self.world.pool, self.world.table)",
        "open_steps: list[dict[str, Any]] = []",
        "TestRepairs",
    ),
    "settles without reading back": Mutant(
        "lib/repair/worker.py",
        "if not is_ours(self.world, found, step.after, created=step.before is None):",
        "if False:",
        "TestRepairs",
    ),
    "forgets intents": Mutant("lib/journal/__init__.py", '{"state": "intent"', '{"state": "planned"', "TestRepairs"),
    "no lease": Mutant(
        "lib/journal/leases.py", "if not _is_dead(", "if False and not _is_dead(", "two_threads and dynamodb"
    ),
    "trusts AppSync's 200": Mutant(
        "lib/repair/carry_out.py",
        "if not is_written(written, _as_versioned(step, wanted, written), created=row is None):",
        "if False:",
        "app_writes and appsync",
    ),
}
_NEEDED = ("lib", "tests", "pyproject.toml")


def is_caught(mutant: Mutant) -> tuple[bool, str]:
    """Return whether the tests fail on the mutant, and what they said."""
    with tempfile.TemporaryDirectory(prefix="pooltable-mutant-") as folder:
        tree = Path(folder)
        for name in _NEEDED:
            source = ROOT / name
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, tree / name)
        spoilt = tree / mutant.file
        text = spoilt.read_text(encoding="utf-8")
        assert text.count(mutant.old) == 1, f"{mutant.file} has {text.count(mutant.old)} of {mutant.old!r}"
        spoilt.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        tests = ["tests/test_proof.py", "tests/test_proof_machine.py"]
        command = [sys.executable, "-m", "pytest", *tests, "-x", "-k", mutant.tests, "-p", "no:cacheprovider"]
        env = os.environ | {"CI": "1"}
        ran = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False, env=env)
        # 1: tests failed. Anything else, such as an error while they were collected, proves nothing.
        assert ran.returncode in (0, 1), ran.stdout
        return ran.returncode == 1, ran.stdout


def main(names: list[str]) -> int:
    survived = []
    for name in names or MUTANTS:
        caught, said = is_caught(MUTANTS[name])
        reason = next((line for line in said.splitlines() if line.startswith("E  ")), "")
        sys.stdout.write(f"{name}: {'caught' if caught else 'SURVIVED'} {reason[:150]}\n")
        sys.stdout.flush()
        survived += [] if caught else [name]
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What a page does, as commands to be copied: every word quoted for a POSIX shell, no e-mail in full."""

import shlex
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from lib import display

_NAMED = 5  # more ids than these make a line that nobody reads


def repair(environment: str, ids: Iterable[str], *, replays: bool = False) -> str:
    """Return the commands that plan and apply a repair of these ids: subs where there are any, each named once."""
    known = list(dict.fromkeys(ids))
    words = ["python", "-m", "lib", "plan", "--env", environment]
    words += ["--action", "replay"] if replays else []
    for name in known[:_NAMED]:
        words += ["--id", display.safe(name)]
    planned = f"{shlex.join([*words, '-o', 'plan.json'])}\npython -m lib apply plan.json"
    return planned + (f"\n# and {len(known) - _NAMED} more ids" if len(known) > _NAMED else "")


def undo(run_id: str, steps: Iterable[int] = ()) -> str:
    """Return the command that undoes a run, or some of its steps."""
    named = [word for step in steps for word in ("--step", str(step))]
    return shlex.join(["python", "-m", "lib", "undo", run_id, *named])


def audit(file: str) -> str:
    """Return the command that exports the journal's audit, and the one that checks its chain."""
    return f"{shlex.join(['python', '-m', 'lib', 'runs', '--export', file])}\npython -m lib runs --verify"


def findings(
    environment: str, file: str, *, situation: str | None, cause: str | None, every: bool, reveal: bool
) -> str:
    """Return the command that exports the same findings as CSV; it knows no search."""
    words = ["python", "-m", "lib", "findings", "--env", environment]
    words += ["--situation", situation] if situation else []
    words += ["--cause", cause] if cause else []
    words += ["--all"] if every else []
    words += ["--reveal"] if reveal else []
    return shlex.join([*words, "--format", "csv", "-o", file])


def raw_log(run: Mapping[str, Any]) -> str:
    """Return the AWS command that prints what the log still holds around a run's time, in its stream."""
    since = int(run["started_at"].timestamp() * 1000) - 1000
    until = int((run["ended_at"] or run["started_at"] + timedelta(seconds=900)).timestamp() * 1000) + 5000
    words = ["aws", "logs", "filter-log-events", "--log-group-name", run["log_group"]]
    words += ["--log-stream-names", run["log_stream"], "--start-time", str(since), "--end-time", str(until)]
    return shlex.join(words)


def policy(environment: str, *, repair: bool) -> str:
    """Return the command that prints the IAM policy."""
    return shlex.join(["python", "-m", "lib", "policy", "--env", environment, *(["--repair"] if repair else [])])

"""The holder of the lease at work: each step with its intent before and its outcome after, and what was left open."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lib.aws.writers import World
from lib.journal import OPEN, Journal, Lease
from lib.model import Item, JournalError, now
from lib.repair import replay
from lib.repair.abreast import abreast
from lib.repair.carry_out import Outcome, carry_out, is_ours
from lib.repair.step import SERVICE_SET, Step

_STEP = ("number", "action", "situation", "account_id", "sub", "row_id", "before", "after", "condition", "reason")


@dataclass(frozen=True)
class Worker:
    """Writes to one world under one lease; nobody else does so meanwhile."""

    world: World
    journal: Journal
    lease: Lease
    at_once: int = 1

    def outcomes(
        self, run_id: str, steps: Iterable[Step], correlation: str, cancelled: Callable[[], bool]
    ) -> Iterator[tuple[Step, Outcome]]:
        """Carry out the steps, ``at_once`` of them, until it is cancelled or no later step could succeed."""
        return abreast(steps, lambda step: self._carry_out(run_id, step, correlation), self.at_once, cancelled)

    def settle(self, *, but: str | None = None, resend: bool = True) -> list[Outcome]:
        """Settle the steps that earlier runs left open, and close those runs; ``but`` is the run under way."""
        self.journal.interrupt_abandoned(self.lease.environment, but)
        open_steps = self.journal.open_steps(self.lease.environment, self.world.pool, self.world.table)
        outcomes = [self._settled(step, resend) for step in open_steps]
        for run_id in dict.fromkeys(step["run_id"] for step in open_steps):
            if all(step["state"] in ("done", "already") for step in self.journal.steps(run_id)):
                self.journal.finish(run_id, "done")
        return outcomes

    @contextmanager
    def unless_broken_off(self, run_id: str) -> Iterator[None]:
        """Mark the run as interrupted where anything breaks it off; its open step is settled by the next run."""
        try:
            yield
        except BaseException:
            with suppress(JournalError):
                self.journal.finish(run_id, "interrupted", "It was broken off.")
            raise

    def _carry_out(self, run_id: str, step: Step, correlation: str) -> Outcome:
        at = now()
        if step.replays:
            outcome = self._replayed(run_id, step, correlation)
        else:
            self.journal.intent(self.lease, run_id, step.number, before=step.before, after=step.wanted(step.before, at))
            outcome = carry_out(self.world, step, at, correlation)
        self._record(run_id, outcome)
        return outcome

    def _replayed(self, run_id: str, step: Step, correlation: str) -> Outcome:
        others = self.journal.steps_on(self.lease.environment, [step.row_id])
        if any(other["state"] in OPEN and other["action"] == step.action for other in others):
            return Outcome(step.number, "refused", "An earlier replay for this account may still be running.")
        self.journal.intent(self.lease, run_id, step.number, before=None, after=step.after)
        return replay.carry_out(self.world, step, correlation)

    def _settled(self, record: dict[str, Any], resend: bool) -> Outcome:
        step = recorded(record)
        if step.replays:
            outcome: Outcome | None = replay.settled(self.world, step, _first_tried_at(record), now())
        else:
            outcome = self._read_back(record, step)
        if outcome is None and resend:
            outcome = self._sent_again(record, step)
        elif outcome is None:
            outcome = Outcome(step.number, "planned", "Settled by reading back: nothing had been written.")
        self._record(record["run_id"], outcome)
        return outcome

    def _read_back(self, record: dict[str, Any], step: Step) -> Outcome | None:
        """Return the outcome of an open step that was written, or whose goal an earlier one had met; else None."""
        found = self.world.row(step.row_id)
        if not is_ours(self.world, found, step.after, created=step.before is None):
            return None
        if self._left_so(record, found):
            return Outcome(step.number, "already", "Settled by reading back: another step had done the same.")
        said = "Settled by reading back: the run was broken off before it heard of the outcome."
        return Outcome(step.number, "done", said, before=_reverted(step, found), after=found)

    def _left_so(self, record: dict[str, Any], found: Item | None) -> bool:
        """Return whether the row is exactly as another step left it, so that this one changed nothing."""
        # Of two steps left open on one row the one settled first has the later number: the order says nothing.
        others = self.journal.steps_on(self.lease.environment, [record["row_id"]])
        done = [step for step in others if step["state"] == "done"]
        return bool(done) and max(done, key=lambda step: int(step["seq"]))["after"] == found

    def _sent_again(self, record: dict[str, Any], step: Step) -> Outcome:
        run_id, at = record["run_id"], _first_tried_at(record)
        self.journal.intent(self.lease, run_id, step.number, before=step.before, after=step.wanted(step.before, at))
        outcome = carry_out(self.world, step, at, record["plan"]["correlation"], resent=True)
        # The first try may have been on its way still, and have come in after all.
        return (outcome.state == "already" and self._read_back(record, step)) or outcome

    def _record(self, run_id: str, outcome: Outcome) -> None:
        self.journal.outcome(
            run_id,
            outcome.number,
            outcome.state,
            message=outcome.message,
            before=outcome.before,
            after=outcome.after,
            request_id=outcome.request_id,
            lease=self.lease,
        )


def recorded(record: dict[str, Any]) -> Step:
    """Return a step as the journal has it."""
    return Step(**{name: record[name] for name in _STEP}, account=record["account"] or {})


def _first_tried_at(record: dict[str, Any]) -> datetime:
    # The same image again is recognised, whichever of the two writes came through.
    stamp = (record["after"] or {}).get("updatedAt", {}).get("S")
    return datetime.fromisoformat(stamp or record["intent_at"])


def _reverted(step: Step, found: Item | None) -> Item | None:
    """Return the row as it was before the step: the plan's own image is cut where the row is large."""
    if step.before is None or found is None or step.after is None:
        return step.before
    changed = {*step.changes(), *SERVICE_SET}
    kept = {name: value for name, value in found.items() if name not in changed}
    return kept | {name: value for name, value in step.before.items() if name in changed}

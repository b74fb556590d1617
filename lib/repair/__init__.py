"""Plans carried out and undone: checked, journalled, one run at a time per environment, every outcome on record."""

from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from lib.aws.writers import World
from lib.config import Settings
from lib.display import mask_emails, visible
from lib.journal import COUNTED, Journal
from lib.model import AwsError, Refused, iso, now
from lib.repair import notes
from lib.repair.carry_out import Outcome
from lib.repair.inverse import inverse
from lib.repair.plan import Plan, threshold
from lib.repair.step import Step
from lib.repair.worker import Worker, recorded

Told = Callable[[str, int, int], None]
"""Told a line, the steps settled so far and the steps in all: first `run RUN_ID`, then a line per step."""

AT_ONCE = 4
"""How many steps of a run go on side by side: well within the quotas of a small app's API and pool."""

_PLANNED = ("region", "api", "writer", "versioned", "correlation", "accepted", "over_threshold")


@dataclass(frozen=True)
class Run:
    """A run as it ended; ``record`` is the journal's, as `runs --json` shows one run."""

    run_id: str
    environment: str
    state: str
    message: str | None
    outcomes: tuple[Outcome, ...]
    record: dict[str, Any]

    @property
    def exit_code(self) -> int:
        """Return 0 where every step is done or was so already, else 1."""
        return 0 if self.state == "done" else 1

    def to_json(self) -> dict[str, Any]:
        """Return the run as `runs --json` shows it."""
        return self.record

    def __repr__(self) -> str:
        counts = ", ".join(f"{self.record[state]} {state}" for state in COUNTED if self.record[state])
        return f"run {self.run_id} of {self.environment}: {self.state} ({counts or 'no steps'})"


def apply(
    plan: Plan,
    world: World,
    journal: Journal,
    *,
    who: str,
    settings: Settings,
    records: int | None,
    doubt: str | None = None,
    why: str | None = None,
    release: int | None = None,
    read_only: bool = False,
    progress: Told | None = None,
    cancelled: Callable[[], bool] | None = None,
    at_once: int = 1,
) -> Run:
    """Carry out a plan, one conditional write per step, ``at_once`` steps side by side, and return the run.

    ``records`` is how many the stored snapshot of the plan has (``plan.records``), None where it is gone or is another
    one; an undo, which is made from the journal, needs none. ``doubt`` is why the plan is not what that snapshot gives
    (``plan.doubt``). ``release`` is the number of steps, typed by the person
    who lets a plan over its threshold pass. Open steps of earlier runs are settled first. Raises ``Refused``, with the
    run on record, where the plan is refused as a whole or somebody else is repairing; ``JournalError`` where the
    journal fails.
    """
    told = progress or (lambda _line, _settled, _total: None)
    entry = _Entry(plan, who, why)
    reason = _why_not(plan, world, settings, read_only) or doubt
    if reason is None and records is None and not plan.undo_of:
        reason = "The snapshot that the plan was made on is gone, or is another one now. Refresh, then plan again."
    if reason:
        raise entry.refused(journal, reason)
    _held_back(plan, settings, records or 0, release, journal, entry)
    with ExitStack() as held:
        try:
            lease = held.enter_context(journal.lease(plan.environment, who))
        except Refused as taken:
            raise entry.refused(journal, str(taken)) from taken
        run_id = entry.started(journal)
        return _run(run_id, plan, Worker(world, journal, lease, at_once), told, cancelled or (lambda: False))


def undo_plan(
    journal: Journal, run_id: str, *, steps: Collection[int] | None = None, at: datetime | None = None
) -> Plan:
    """Return the plan that reverses what a run did, last step first; each row must be as the run left it.

    ``steps`` are the numbers of those to reverse, by default all that wrote something. Raises ``ConfigError`` for a
    run that is not there, ``Refused`` for one that cannot be undone.
    """
    [run] = journal.history(run_id=run_id)
    if run["kind"] == "undo":
        raise Refused(f"Run {run_id} is itself an undo, and that cannot be undone. Refresh, then plan again.")
    if run["state"] in ("running", "waiting"):
        raise Refused(f"Run {run_id} is {run['state']}. It can be undone when it has ended.")
    done = _undoable(journal.steps(run_id), run_id, steps)
    inverted = [step for record in reversed(done) if (step := inverse(recorded(record)))]
    facts = run["plan"] | {"over_threshold": False}
    draft = Plan(
        environment=run["environment"],
        pool=run["pool"],
        table=run["table"],
        snapshot=run["snapshot"],
        digest=run["digest"],
        at=at or now(),
        undo_of=run_id,
        steps=tuple(replace(step, number=number) for number, step in enumerate(inverted, start=1)),
        **facts,
    )
    return replace(draft, notes=tuple(notes.of_undo(draft, stamped=len(done) - len(inverted))))


def unfinished(journal: Journal, run_id: str) -> list[dict[str, Any]]:
    """Return the steps of a run that did not get done: refused, failed, unknown, or never begun."""
    return [step for step in journal.steps(run_id) if step["state"] not in ("done", "already")]


def settle(world: World, journal: Journal, environment: str, *, who: str, resend: bool = True) -> list[Outcome]:
    """Settle the steps that a dead or interrupted run left open, by reading back; return their outcomes.

    A row that is still as before is written again as planned, or with ``resend`` false given back as planned.
    """
    with journal.lease(environment, who) as lease:
        return Worker(world, journal, lease).settle(resend=resend)


def _undoable(records: list[dict[str, Any]], run_id: str, chosen: Collection[int] | None) -> list[dict[str, Any]]:
    done = [step for step in records if step["state"] == "done" and (chosen is None or step["number"] in chosen)]
    without = sorted(set(chosen or ()) - {step["number"] for step in done})
    if without:
        raise Refused(f"Step {without[0]} of run {run_id} wrote nothing, so there is nothing to undo in it.")
    if any(step["purged"] for step in done):
        raise Refused(
            f"Run {run_id} cannot be undone any more: what its rows were before was purged from the journal, "
            "or forgotten on somebody's request. Only digests are left."
        )
    return done


@dataclass(frozen=True)
class _Entry:
    """How a run of a plan is entered in the journal."""

    plan: Plan
    who: str
    why: str | None

    def refused(self, journal: Journal, reason: str) -> Refused:
        """Record the run as refused and return the error to raise."""
        run_id = self._begin(journal, "refused", reason)
        return Refused(f"Run {run_id} was refused, nothing was written. {reason}")

    def waiting(self, journal: Journal, reason: str) -> Refused:
        """Record the run as waiting for its release, once, and return the error to raise."""
        known = journal.waiting(self.plan.environment, self.plan.sha256())
        run_id = known or self._begin(journal, "waiting", reason)
        return Refused(f"Run {run_id} waits, nothing was written. {reason}")

    def started(self, journal: Journal) -> str:
        """Record the run as running and return its id; a run that waited for its release goes on under its own."""
        waiting = journal.waiting(self.plan.environment, self.plan.sha256())
        if waiting is None:
            return self._begin(journal, "running", None)
        journal.release(waiting, self.who, self.why)
        return waiting

    def _begin(self, journal: Journal, state: str, message: str | None) -> str:
        plan = self.plan
        run = {
            "environment": plan.environment,
            "pool": plan.pool,
            "table": plan.table,
            "kind": "undo" if plan.undo_of else "apply",
            "undo_of": plan.undo_of,
            "who": self.who,
            "why": self.why,
            "snapshot": plan.snapshot,
            "digest": plan.digest,
            "plan": {name: getattr(plan, name) for name in _PLANNED},
            "plan_digest": plan.sha256(),
        }
        return journal.begin(run, (asdict(step) for step in plan.steps), state=state, message=message)


def _why_not(plan: Plan, world: World, settings: Settings, read_only: bool) -> str | None:
    if read_only:
        return f"{plan.environment} is read-only here. Set read_only = false for it in pooltable.toml."
    if plan.environment != settings.name:
        return f"The plan is for {plan.environment}, not for {settings.name}."
    for what in ("pool", "table", "api", "writer"):
        planned, present = getattr(plan, what), getattr(world, what)
        if planned != present:
            return f"The plan is for {what} {planned}, but {settings.name} has {present} now. Refresh, then plan again."
    limit = timedelta(minutes=settings.plan_max_age_minutes)
    if now() - plan.at > limit:
        return (
            f"The plan was made at {iso(plan.at)}, more than plan_max_age_minutes = "
            f"{settings.plan_max_age_minutes:g} ago. Refresh, then plan again."
        )
    return None


def _held_back(
    plan: Plan, settings: Settings, records: int, release: int | None, journal: Journal, entry: _Entry
) -> None:
    """Raise ``Refused`` where a plan over a threshold was not released by its exact number of steps."""
    steps = len(plan.steps)
    # Reckoned anew: a plan's file can say what it likes. An undo only takes back what was released before.
    over = not plan.undo_of and (plan.over_threshold or threshold(records, settings, steps))
    if over and release != steps and not journal.released(plan.environment, plan.sha256()):
        given = "" if release is None else f" {release} is not that number."
        raise entry.waiting(
            journal, f"Its {steps} steps are over the threshold: release it by that number (--release {steps}).{given}"
        )


def _run(run_id: str, plan: Plan, worker: Worker, told: Told, cancelled: Callable[[], bool]) -> Run:
    total = len(plan.steps)
    outcomes: list[Outcome] = []
    told(f"run {run_id}", 0, total)
    with worker.unless_broken_off(run_id):
        unsettled = _unsettled(worker, run_id)
        if not unsettled:
            for step, outcome in worker.outcomes(run_id, plan.steps, plan.correlation, cancelled):
                outcomes.append(outcome)
                told(_line(step, outcome, total), len(outcomes), total)
        state, message = ("interrupted", unsettled) if unsettled else _ending(plan, outcomes)
        worker.journal.finish(run_id, state, message)
    outcomes.sort(key=lambda outcome: outcome.number)
    [record] = worker.journal.runs(run_id=run_id)
    return Run(run_id, plan.environment, state, message, tuple(outcomes), record)


def _unsettled(worker: Worker, run_id: str) -> str | None:
    """Settle what earlier runs left open; return why that was not possible."""
    try:
        reason = next((outcome.message for outcome in worker.settle(but=run_id) if outcome.stops), None)
    except AwsError as error:
        reason = str(error)
    return f"Steps of an earlier run could not be settled first. {reason}" if reason else None


def _ending(plan: Plan, outcomes: list[Outcome]) -> tuple[str, str | None]:
    stopped = next((outcome for outcome in outcomes if outcome.stops), None)
    if stopped:
        return "interrupted", f"{stopped.message} The plan can be applied again: it goes on where it stopped."
    if len(outcomes) < len(plan.steps):
        return "cancelled", f"Cancelled after {len(outcomes)} of {len(plan.steps)} steps."
    if all(outcome.state in ("done", "already") for outcome in outcomes):
        return "done", None
    return "partial", None


def _line(step: Step, outcome: Outcome, total: int) -> str:
    said = f" {outcome.message}" if outcome.message else ""
    return visible(mask_emails(f"{step.number}/{total} {outcome.state} {step.action} {step.row_id}.{said}"))

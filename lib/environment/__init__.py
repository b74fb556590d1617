"""One environment, opened: what the pages, the command line and the notebooks do with it."""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

from lib import judging, repair
from lib.aws import api_type
from lib.aws.api_type import ApiType
from lib.aws.graphql import ACTION
from lib.aws.rows import is_tombstone
from lib.config import Config, Settings, nearest
from lib.environment.opened import operator
from lib.environment.wired import Wired
from lib.model import CAUSES, SITUATIONS, ConfigError, CredentialsError, Refused
from lib.person import digest
from lib.repair import Run, Told
from lib.repair import plan as planning
from lib.repair.carry_out import WAYS_OUT, Outcome
from lib.repair.plan import Plan
from lib.snapshot import Snapshot
from lib.views.key_gap import key_gap

__all__ = ["Environment", "operator"]


class Environment(Wired):
    """A pool, its table and its log; the snapshots of them, and the journal. Safe to share between threads.

    Opening it contacts nothing: AWS is first asked by ``refresh``, ``plan``, ``apply``, ``undo`` and ``wiring``.
    """

    def __init__(self, config: Config, settings: Settings) -> None:
        super().__init__(config, settings)
        self._types: dict[str, ApiType | None] = {}

    def plan(
        self,
        snapshot: Snapshot | None = None,
        *,
        situations: Collection[str] | None = None,
        causes: Collection[str] | None = None,
        ids: Collection[str] | None = None,
        accept_suspicious: bool = False,
        why: str | None = None,
    ) -> Plan:
        """Return what a repair of the chosen findings would write; by default of orphaned accounts and drift.

        ``ids`` are Usernames, subs or row ids. Accepting a suspicious snapshot is journalled, once for each of them.
        Raises ``Refused`` when the snapshot gives no plan.
        """
        _refuse_unknown("situation", situations, SITUATIONS)
        _refuse_unknown("cause", causes, CAUSES)
        _refuse_unknown("id", ids)
        snapshot = snapshot or self.latest()
        if accept_suspicious and snapshot.manifest["suspicious"]:
            self.accept(snapshot, why)
        known, asked = self._api_type(snapshot)
        return planning.plan(
            snapshot,
            self.settings,
            situations=situations,
            causes=causes,
            ids=ids,
            accepted=self.accepted(snapshot),
            known=known,
            asked=asked,
            own_tombstones=self._own_tombstones,
        )

    def replay_plan(self, *, causes: Collection[str] | None = None, ids: Collection[str] | None = None) -> Plan:
        """Return the plan that runs the trigger again for orphaned accounts, once for each, by default for all.

        ``ids`` are Usernames or subs. The event is the logged one of the sign-up, or one made from the account. Raises
        ``Refused`` when the latest snapshot gives no plan, or the pool calls no function.
        """
        _refuse_unknown("cause", causes, CAUSES)
        _refuse_unknown("id", ids)
        snapshot = self.latest()
        return planning.plan(
            snapshot, self.settings, causes=causes, ids=ids, accepted=self.accepted(snapshot), replays=True
        )

    def accept(self, snapshot: Snapshot, why: str | None) -> None:
        """Record that a person accepts this suspicious snapshot, once."""
        self.journal.accept_snapshot(self.name, snapshot.stamp, who=operator(), why=why)

    def apply(
        self,
        plan: Plan,
        *,
        why: str | None = None,
        who: str | None = None,
        release: int | None = None,
        progress: Told | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Run:
        """Carry out a plan and return the run; raise ``Refused`` where it is refused as a whole.

        ``release`` is the number of steps, typed by the person who lets a plan over its threshold pass.
        """
        stored = self._stored(plan)
        return repair.apply(
            plan,
            self._world(),
            self.journal,
            who=who or operator(),
            settings=self.settings,
            records=planning.records(stored) if stored else None,
            doubt=planning.doubt(plan, stored, self.settings) if stored and not plan.undo_of else None,
            why=why,
            release=release,
            read_only=bool(self.settings.read_only),
            progress=progress,
            cancelled=cancelled,
            at_once=repair.AT_ONCE,
        )

    def undo_plan(self, run_id: str, *, steps: Collection[int] | None = None) -> Plan:
        """Return the plan that reverses what a run did, once the steps it may have left open are settled.

        ``steps`` are the numbers of those to reverse, by default all that wrote something.
        """
        self._settle_first()
        return repair.undo_plan(self.journal, run_id, steps=steps)

    def retry_plan(self, run_id: str) -> Plan:
        """Return the plan of what a run did not get done, made anew: of a repair on the newest snapshot.

        Raises ``Refused`` where nothing is left to do.
        """
        self._settle_first()
        [run], left = self.journal.history(self.name, run_id), repair.unfinished(self.journal, run_id)
        if not left:
            raise Refused(f"Run {run_id} got everything done: there is nothing to try again.")
        if run["kind"] == "undo":
            rows = {step["row_id"] for step in left}
            done = [step for step in self.journal.steps(run["undo_of"]) if step["state"] == "done"]
            meant = [step["number"] for step in done if step["row_id"] in rows]
            return repair.undo_plan(self.journal, run["undo_of"], steps=meant)
        if any(step["action"] == "replay" for step in left):
            return self.replay_plan(ids=[step["sub"] or step["account_id"] for step in left])
        return self.plan(
            ids=[step["sub"] or step["row_id"] for step in left], situations={step["situation"] for step in left}
        )

    def settle(self, *, who: str | None = None) -> list[Outcome]:
        """Settle the steps that dead runs left open, by reading back; asks AWS only where there are any.

        Raises ``Refused`` while somebody is repairing: those steps may be theirs.
        """
        if not self.journal.left_open(self.name):
            return []
        return repair.settle(self._world(), self.journal, self.name, who=who or operator())

    def undo(self, run: Run | str, *, why: str | None = None, progress: Told | None = None) -> Run:
        """Reverse a run where its rows are untouched since, and return the run that did."""
        run_id = run if isinstance(run, str) else run.run_id
        return self.apply(self.undo_plan(run_id), why=why, progress=progress)

    def accept_finding(
        self,
        id: str,
        *,
        why: str,
        until: datetime | None = None,
        situation: str | None = None,
        who: str | None = None,
    ) -> list[str]:
        """Record that a person has judged the findings about an id, or its one of a situation; return the situations.

        They stay listed, with the note ``accepted``, and are not counted until ``until``, or their situation changes.
        """
        latest, who = self.latest(), who or operator()
        return judging.accept(self.journal, self.name, latest, id, who=who, why=why, until=until, situation=situation)

    def forget(self, id: str, *, who: str | None = None) -> int:
        """Take one person out of every stored snapshot and the journal's images; return of how many lines.

        The person is whoever has the id (a Username, a sub or a row id), with all accounts and rows of their e-mail.
        Digests stay. Raises ``Refused`` while somebody is repairing. What AWS still holds, a refresh reads again.
        """
        who = who or operator()
        with self.journal.lease(self.name, who):
            person = self.journal.person(self.name, self.store.person(id))
            taken = self.journal.forget(self.name, person, who=who, digest=digest(id))
            return taken + self.store.forget(person)

    def gap_plan(self) -> Plan:
        """Return the plan that backfills exactly the accounts lost while the trigger had no valid key.

        Raises ``Refused`` where the latest snapshot knows of none.
        """
        snapshot = self.latest()
        gap = key_gap(snapshot)
        if gap is None or not gap.accounts:
            raise Refused("No account without a row was lost to an expired key. Refresh to see the latest ones.")
        return self.plan(snapshot, ids=gap.accounts)

    def _settle_first(self) -> None:
        if not self.settings.read_only:
            repair.settle(self._world(), self.journal, self.name, who=operator(), resend=False)

    def _stored(self, plan: Plan) -> Snapshot | None:
        """Return the stored snapshot that a plan was made on, None where it is gone or is another one."""
        of_plan = (each for each in self.store.newest_first() if each.stamp == plan.snapshot)
        return next((each for each in of_plan if each.manifest["digest"] == plan.digest), None)

    def _api_type(self, snapshot: Snapshot) -> tuple[ApiType | None, bool]:
        """Return what the API tells of its type User, and whether it was asked.

        Raises ``Refused`` where it refuses the caller: no step could be carried out.
        """
        url = planning.api_of(snapshot, self.settings)
        if not url:
            return None, False
        if url not in self._types:
            try:
                found = api_type.ask(self.aws, url)
            except CredentialsError as error:
                raise Refused(f"There is no plan. {error} {WAYS_OUT}") from error
            right = None if self.settings.api_key else self.write_right()
            if right and right.may is False and right.action == ACTION:
                raise Refused(f"There is no plan. {right.why} {WAYS_OUT}")
            self._types[url] = found
        return self._types[url], True

    def _own_tombstones(self, row_ids: Collection[str]) -> set[str]:
        """Return which of these rows were last soft-deleted from here."""
        last: dict[str, Any] = {}
        for step in self.journal.steps_on(self.name, row_ids):
            if step["state"] == "done":
                last.setdefault(step["row_id"], step["after"])
        return {row_id for row_id, after in last.items() if after and is_tombstone(after)}


def _refuse_unknown(kind: str, chosen: Collection[str] | None, known: Collection[str] = ()) -> None:
    """Raise ``ConfigError`` for a word that would choose nothing: that must not look like nothing to do."""
    if isinstance(chosen, str):
        raise ConfigError(f"{kind}s takes a list, such as [{chosen!r}].")
    for name in chosen or ():
        if known and name not in known:
            raise ConfigError(f"There is no {kind} {name!r}.{nearest(name, known)}")

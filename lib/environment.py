"""One environment, opened: what the pages, the command line and the notebooks do with it."""

import getpass
import socket
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from lib import judging, matching, notebook, repair, rescue
from lib.aws import api_type, discovery, logs, writers
from lib.aws.api_type import ApiType
from lib.aws.checks import Seen
from lib.aws.discovery import Chain, Check
from lib.aws.graphql import ACTION
from lib.aws.policy import Policy, policy
from lib.aws.rows import is_tombstone, rows_of
from lib.aws.session import Aws
from lib.aws.write_right import WriteRight, write_right
from lib.config import Config, Settings, nearest
from lib.journal import Journal
from lib.logparse.excerpt import RawLog, excerpt
from lib.model import CAUSES, SITUATIONS, ConfigError, CredentialsError, NoSnapshot, Progress, Refused, Wiring, now
from lib.person import digest
from lib.refresh import refresh
from lib.repair import Run, Told
from lib.repair import plan as planning
from lib.repair.carry_out import WAYS_OUT, Outcome
from lib.repair.plan import Plan
from lib.snapshot import Snapshot, Store
from lib.views.key_gap import key_gap
from lib.views.link_facts import link_facts

_RIGHT_LASTS = timedelta(minutes=10)
# Around a run in its log stream: starting the function takes 10 s at most, a run 900 s.
_STARTING, _LONGEST_RUN, _LAST_WORDS = timedelta(seconds=10), timedelta(seconds=900), timedelta(seconds=5)


class Environment:
    """A pool, its table and its log; the snapshots of them, and the journal. Safe to share between threads.

    Opening it contacts nothing: AWS is first asked by ``refresh``, ``plan``, ``apply``, ``undo`` and ``wiring``.
    """

    def __init__(self, config: Config, settings: Settings) -> None:
        self.name = settings.name
        self.settings = settings
        self.config = config
        self.aws = Aws(settings)
        self.store = Store(config.snapshots_path, settings.name, config.keep, settings.user_pool_id)
        self.journal = Journal(config.journal_url)
        self._lock = threading.Lock()
        self._types: dict[str, ApiType | None] = {}
        self._views: dict[tuple[str, int], Snapshot] = {}
        self._asking = threading.Lock()
        self._right: tuple[datetime, WriteRight] | None = None

    def __repr__(self) -> str:
        return f"<Environment {self.name}: pool {self.settings.user_pool_id}>"

    @property
    def embedded(self) -> bool:
        """Whether this is the demo's own world, which nobody can harm."""
        return self.settings.credentials is not None

    def refresh(self, progress: Progress | None = None) -> Snapshot:
        """Read the three sources, store what they show and return it; a notebook shows how far it is.

        A source that was not read to its end does not raise: ``manifest["complete"]`` is false, and says why.
        """
        self._purge()
        with notebook.progress() as shown:
            return refresh(self.aws, self.store, self.journal, progress or shown, neighbours=self.neighbours())

    def latest(self) -> Snapshot:
        """Return the newest snapshot with the repairs confirmed since it began; raise ``NoSnapshot`` without one."""
        snapshot, mark, judged = self.store.latest(), self.journal_mark(), judging.in_effect(self.journal, self.name)
        with self._lock:
            if (snapshot.stamp, mark) not in self._views:
                view = self._overlaid(snapshot)
                by_situation = judged.by_situation
                self._views = {(snapshot.stamp, mark): view.with_judged(by_situation) if by_situation else view}
            return self._views[snapshot.stamp, mark]

    def neighbours(self) -> list[Snapshot]:
        """Return the latest snapshots of the other environments' pools, as far as there are any; AWS is not asked."""
        others = [each for name, each in self.config.environments.items() if name != self.name]
        stores = (Store(self.config.snapshots_path, each.name, self.config.keep, each.user_pool_id) for each in others)
        newest = [next(iter(store.newest_first()), None) for store in stores]
        return [each for each in newest if each and each.wiring.pool != self.settings.user_pool_id]

    def history(self) -> list[Snapshot]:
        """Return every stored snapshot, newest first, each as it was read."""
        return self.store.history()

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

    def accepted(self, snapshot: Snapshot) -> bool:
        """Return whether a person has accepted this snapshot although it is suspicious."""
        return snapshot.stamp in self.journal.accepted_snapshots(self.name)

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

    def runs(self, run_id: str | None = None) -> list[dict[str, Any]]:
        """Return the journal's runs of this environment, newest first; one run also with its steps."""
        return self.journal.runs(self.name, run_id)

    def raw_log(self, invocation: Mapping[str, Any]) -> RawLog:
        """Return what the log still holds of one invocation, as it stands: read at each call, and kept nowhere.

        ``invocation`` has the columns of ``model.INVOCATIONS``. Nothing is left of it where the log has let it go.
        Raises ``AwsError`` where the log cannot be read.
        """
        group, stream, started_at = (invocation[name] for name in ("log_group", "log_stream", "started_at"))
        if not (group and stream and started_at):
            return RawLog((), more=False)
        until = (invocation["ended_at"] or started_at + _LONGEST_RUN) + _LAST_WORDS
        events, more = logs.stream_events(self.aws, group, stream, started_at - _STARTING, until)
        return RawLog(tuple(excerpt(events, invocation["request_id"])), more)

    def wiring(self) -> tuple[Wiring, list[Check]]:
        """Return the chain behind the pool as it is now, and whether each link answers."""
        chain, checks = self.links()
        return chain.wiring, checks

    def links(self) -> tuple[Chain, list[Check]]:
        """Return the chain as it is now with the facts of every link, and whether each answers.

        What was learnt of the correlation is the latest snapshot's.
        """
        chain = discovery.chain(self.aws)
        chain = replace(chain, wiring=matching.remembered(chain.wiring, self.settings, self.store))
        return chain, discovery.probe(self.aws, chain.wiring, self._seen())

    def _seen(self) -> Seen:
        try:
            return link_facts(self.latest())
        except NoSnapshot:
            return Seen()

    def write_right(self) -> WriteRight:
        """Return whether this role may write rows, asked once in ten minutes, without writing any.

        ``may`` is None where it cannot be told: the repair itself will tell.
        """
        reason = self.read_only()
        if reason:
            return WriteRight(False, "", reason)
        with self._asking:
            if self._right is None or now() - self._right[0] > _RIGHT_LASTS:
                self._right = now(), self._asked_right()
            return self._right[1]

    def _asked_right(self) -> WriteRight:
        try:
            wiring = self.latest().wiring
        except NoSnapshot:
            wiring = discovery.discover(self.aws)
        try:
            self.aws.on_loopback(*filter(None, [wiring.graphql_url]))
        except ConfigError as error:
            return WriteRight(False, "", str(error))
        return write_right(self.aws, wiring, self._writer(wiring))

    def rescue_plan(self, days: int = 30) -> rescue.Plan:
        """Return what extending the key in the trigger's environment would do, once a broken-off rescue is told.

        Raises ``Refused`` where no key needs it, or it is not clear which.
        """
        if not self.settings.read_only:
            rescue.settle(self.aws, self.journal, self.name, who=operator())
        return rescue.plan(self.aws, discovery.discover(self.aws), days)

    def rescue(self, days: int = 30, *, why: str | None = None, who: str | None = None) -> rescue.Rescued:
        """Let the key in the trigger's environment live for so many days from now; raise ``Refused`` as its plan does.

        The accounts lost until then keep their cause, ``api_key_expired``: a plan of that cause backfills them.
        """
        reason = self.read_only()
        if reason:
            raise Refused(reason)
        self.aws.on_loopback()
        return rescue.apply(self.rescue_plan(days), self.aws, self.journal, who=who or operator(), why=why)

    def gap_plan(self) -> Plan:
        """Return the plan that backfills exactly the accounts lost while the trigger had no valid key.

        Raises ``Refused`` where the latest snapshot knows of none.
        """
        snapshot = self.latest()
        gap = key_gap(snapshot)
        if gap is None or not gap.accounts:
            raise Refused("No account without a row was lost to an expired key. Refresh to see the latest ones.")
        return self.plan(snapshot, ids=gap.accounts)

    def chain(self) -> dict[str, Any]:
        """Return the contract's ``wiring --json`` object."""
        wiring, checks = self.wiring()
        return {
            "pool": wiring.pool,
            "triggers": list(wiring.triggers),
            "function": next(iter(wiring.functions), None),
            "api": wiring.graphql_url,
            "table": wiring.table,
            "log_group": next(iter(wiring.log_groups), None),
            "correlation": wiring.correlation,
            "checks": [asdict(check) for check in checks],
        }

    def policy(self, wiring: Wiring | None = None, *, repair: bool = False) -> Policy:
        """Return the least-privilege IAM policy for the chain as it is discovered, or for one already known."""
        return policy(wiring or discovery.discover(self.aws), repair=repair, writer=self.settings.writer)

    def read_only(self, *, without_login: bool = False) -> str | None:
        """Return why nothing may be written, None where it may.

        A dashboard that anybody on this machine can open (``without_login``) does not write to real AWS unless the
        operator has said so; whoever runs the command line or a notebook holds the credentials.
        """
        if self.settings.read_only:
            return f"{self.name} is read-only: read_only = true is set for it."
        if self.settings.read_only is None and without_login and not self.aws.on_loopback():
            return f"{self.name} is real AWS and nobody logs in here. Set read_only = false for it to allow repairs."
        return None

    def journal_mark(self) -> int:
        """Return a number that changes with every outcome in the journal, and when an acceptance runs out."""
        return self.journal.mark() + judging.in_effect(self.journal, self.name).over

    def _purge(self) -> None:
        if self.config.purge_after_days is not None:
            before = now() - timedelta(days=self.config.purge_after_days)
            self.journal.purge(self.name, before, who=operator())

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

    def _overlaid(self, snapshot: Snapshot) -> Snapshot:
        changed, confirmed_at = {}, {}
        for row_id, item, at in self._written_since(snapshot, datetime.fromisoformat(snapshot.manifest["started_at"])):
            changed[row_id] = rows_of([item]) if item else None
            confirmed_at[row_id] = at
        return snapshot.with_rows(changed, confirmed_at) if changed else snapshot

    def _written_since(self, snapshot: Snapshot, since: datetime) -> list[Any]:
        wiring = snapshot.wiring
        return self.journal.verified_since(self.name, wiring.pool, wiring.table or "", since)

    def _world(self) -> writers.World:
        wiring = discovery.discover(self.aws)
        # Raises where one service is this machine and another is AWS: that would repair one world by another's facts.
        self.aws.on_loopback(*filter(None, [wiring.graphql_url]))
        return writers.world(self.aws, wiring, self._writer(wiring))

    def _writer(self, wiring: Wiring) -> str:
        return self.settings.writer or ("appsync" if wiring.graphql_url else "dynamodb")


def _refuse_unknown(kind: str, chosen: Collection[str] | None, known: Collection[str] = ()) -> None:
    """Raise ``ConfigError`` for a word that would choose nothing: that must not look like nothing to do."""
    if isinstance(chosen, str):
        raise ConfigError(f"{kind}s takes a list, such as [{chosen!r}].")
    for name in chosen or ():
        if known and name not in known:
            raise ConfigError(f"There is no {kind} {name!r}.{nearest(name, known)}")


def operator() -> str:
    """Return who is at this machine, for the journal."""
    return f"{getpass.getuser()} on {socket.gethostname()}"

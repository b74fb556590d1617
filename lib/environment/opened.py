"""An environment opened: its snapshots, its journal and what they show. Its only write is a snapshot."""

import getpass
import socket
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from lib import judging, notebook
from lib.aws import logs
from lib.aws.rows import rows_of
from lib.aws.session import Aws
from lib.config import Config, Settings
from lib.journal import Journal
from lib.logparse.excerpt import RawLog, excerpt
from lib.model import Progress, now
from lib.refresh import refresh
from lib.snapshot import Snapshot, Store

# Around a run in its log stream: starting the function takes 10 s at most, a run 900 s.
_STARTING, _LONGEST_RUN, _LAST_WORDS = timedelta(seconds=10), timedelta(seconds=900), timedelta(seconds=5)


class Opened:
    """A pool, its table and its log; the snapshots of them, and the journal."""

    def __init__(self, config: Config, settings: Settings) -> None:
        self.name = settings.name
        self.settings = settings
        self.config = config
        self.aws = Aws(settings)
        self.store = Store(config.snapshots_path, settings.name, config.keep, settings.user_pool_id)
        self.journal = Journal(config.journal_url)
        self._lock = threading.Lock()
        self._views: dict[tuple[str, int], Snapshot] = {}

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

    def accepted(self, snapshot: Snapshot) -> bool:
        """Return whether a person has accepted this snapshot although it is suspicious."""
        return snapshot.stamp in self.journal.accepted_snapshots(self.name)

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

    def _overlaid(self, snapshot: Snapshot) -> Snapshot:
        changed, confirmed_at = {}, {}
        for row_id, item, at in self._written_since(snapshot, datetime.fromisoformat(snapshot.manifest["started_at"])):
            changed[row_id] = rows_of([item]) if item else None
            confirmed_at[row_id] = at
        return snapshot.with_rows(changed, confirmed_at) if changed else snapshot

    def _written_since(self, snapshot: Snapshot, since: datetime) -> list[Any]:
        wiring = snapshot.wiring
        return self.journal.verified_since(self.name, wiring.pool, wiring.table or "", since)


def operator() -> str:
    """Return who is at this machine, for the journal."""
    return f"{getpass.getuser()} on {socket.gethostname()}"

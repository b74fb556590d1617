"""What the latest snapshot knows that a check of the chain rests on."""

from datetime import UTC, datetime, timedelta

from lib.aws.checks import Runs, Seen
from lib.snapshot import Snapshot
from lib.views import forecast

_WINDOW = timedelta(days=1)

_UNVERSIONED = "select count(*) as n from pairs where situation = 'unversioned_row'"
_RUNS = """
select count(*) as runs, count(username) as named,
    count(*) filter (where outcome in ('error', 'timeout', 'oom', 'exit', 'init_error')) as failed
from invocations where started_at >= $since and started_at < $until
"""


def link_facts(snapshot: Snapshot) -> Seen:
    """Return the forecast, the rows without a version, and the runs of the last 24 whole hours of the log."""
    sources = snapshot.manifest["sources"]
    a_day = forecast.sign_ups_a_day(snapshot) if sources["accounts"]["complete"] else None
    rows_read = sources["rows"]["complete"]
    return Seen(
        sign_ups_a_day=str(a_day) if a_day else None,
        unversioned_rows=int(snapshot.sql(_UNVERSIONED)["n"].iloc[0]) if rows_read else None,
        runs=_runs(snapshot) if sources["invocations"]["complete"] else None,
    )


def _runs(snapshot: Snapshot) -> Runs | None:
    read_at = datetime.fromisoformat(snapshot.manifest["sources"]["invocations"]["started_at"]).astimezone(UTC)
    # Lambda's metrics come by the hour.
    until = read_at.replace(minute=0, second=0, microsecond=0)
    since = until - _WINDOW
    log_from = snapshot.wiring.log_from
    if log_from is None or log_from > since:
        return None
    [counts] = snapshot.sql(_RUNS, since=since, until=until).to_dict("records")
    return Runs(since, until, int(counts["runs"]), int(counts["failed"]), int(counts["named"]))

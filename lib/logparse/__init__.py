"""Log events of the trigger's function become invocations: one line for each run, by rules, whatever the order."""

import gc
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lib.logparse.runs import Run, runs
from lib.logparse.verdict import record
from lib.logparse.whole import Event, classified
from lib.model import INVOCATIONS

if TYPE_CHECKING:
    import pandas as pd

_QUIET_MS = 60_000

_FACTS = itemgetter("logStreamName", "timestamp", "eventId", "message")
_IN_ORDER = itemgetter(*(INVOCATIONS.get_field_index(name) for name in ("started_at", "log_stream", "request_id")))


def invocations(
    events: Iterable[Mapping[str, Any]], *, now: datetime | None = None, timeout_s: float = 900
) -> "pd.DataFrame":
    """Return one line per invocation found in log events, columns as in ``model.INVOCATIONS``, earliest first.

    Events are dicts as FilterLogEvents gives them, in any order, repeated or not, text and JSON format mixed. What the
    log does not hold is null; ``function`` and ``log_group`` always are, for no event tells them. ``started_at`` of a
    run whose start is not in the log is its first line that is.

    Without ``now`` nothing is still open. With it, a run without an end is left out until the function's time-out
    (``timeout_s``) and 60 quiet seconds have passed since; ``attrs["open"]`` counts those. ``attrs["suspicious"]``
    counts the suspicious lines that belong to no invocation, ``attrs["suspicious_at"]`` has their epoch milliseconds.
    """
    now_ms = None if now is None else now.timestamp() * 1000
    records: list[tuple[Any, ...]] = []
    strays: list[int] = []
    still_open = 0
    with _no_search_for_cycles():
        for stream, unsorted in _by_stream(events).items():
            found, stray = runs(classified(_once(unsorted)))
            strays += stray
            for run in found:
                if now_ms is not None and _is_open(run, now_ms, timeout_s * 1000):
                    still_open += 1
                else:
                    records.append(record(run, stream))
        records.sort(key=_IN_ORDER)
        frame: pd.DataFrame = _table(records).to_pandas()
    frame.attrs.update(suspicious=len(strays), suspicious_at=strays, open=still_open)
    return frame


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Pause the garbage collector: millions of small objects without a cycle set it off, a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _by_stream(events: Iterable[Mapping[str, Any]]) -> dict[str, list[Event]]:
    streams: defaultdict[str, list[Event]] = defaultdict(list)
    for stream, at, event_id, message in map(_FACTS, events):
        # As numbers, event ids sort by length first; their 56 digits need not be converted for that.
        streams[stream].append((at, len(event_id), event_id, message))
    return streams


def _once(events: list[Event]) -> list[Event]:
    """Return a stream's events in order, each but once."""
    events.sort()
    if len({event[2] for event in events}) == len(events):
        return events
    return [event for before, event in pairwise([(0, 0, "", ""), *events]) if event[2] != before[2]]


def _is_open(run: Run, now_ms: float, timeout_ms: float) -> bool:
    return run.ended_at is None and now_ms < max(run.started_at + timeout_ms, run.last_at) + _QUIET_MS


def _table(records: list[tuple[Any, ...]]) -> pa.Table:
    columns = zip(*records, strict=True) if records else [()] * len(INVOCATIONS)
    arrays = [_array(values, field.type) for values, field in zip(columns, INVOCATIONS, strict=True)]
    return pa.Table.from_arrays(arrays, schema=INVOCATIONS)


def _array(values: tuple[Any, ...], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, type=kind)
    except UnicodeEncodeError:
        # A lone surrogate is legal in a log's JSON and in no encoding.
        return pa.array([value and value.encode(errors="replace").decode() for value in values], type=kind)

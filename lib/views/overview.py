"""What Overview shows of a period: its figures beside those of the one before, and one sentence on it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from lib.snapshot import Snapshot
from lib.views.trends import (
    LOST,
    OUTCOMES,
    RANGES,
    Period,
    funnel,
    key_expiry,
    log_reach,
    members,
    overwritten,
    period,
    sign_ups,
    situations,
    span,
    stalls,
)

SOON = timedelta(days=7)
"""How long before its end an API key is worth a word: the life that AppSync gives a key by default."""

_SILENT = ("silent_failure",)


@dataclass(frozen=True)
class Figure:
    """A figure of a period, the same of the period before, and its course; None where it cannot be known."""

    value: float | None
    before: float | None
    course: tuple[float, ...]


@dataclass(frozen=True)
class Figures:
    """The figures at the head of Overview."""

    sign_ups: Figure
    missing: Figure
    silent: Figure
    in_sync: Figure  # share of the sign-ups whose row could be there, 0 to 1


@dataclass(frozen=True)
class Overview:
    """What one look at a period shows; the frames are those of the functions of the same name."""

    name: str
    over: Period
    reach: datetime | None
    counted: pd.DataFrame
    figures: Figures
    situations: pd.DataFrame
    funnel: pd.DataFrame
    losses: pd.DataFrame
    stalls: pd.DataFrame
    overwritten: pd.DataFrame
    key_expires_at: datetime | None


def figures(counted: pd.DataFrame, before: pd.DataFrame, over: Period, reach: datetime | None) -> Figures:
    """Return the figures of a period beside those of the one before, both counted by ``sign_ups``.

    Silent failures are known only where the log reaches: elsewhere their figure is None, never 0.
    """
    return Figures(
        sign_ups=_figure(counted, before, OUTCOMES),
        missing=_figure(counted, before, LOST),
        silent=Figure(
            None if reach is None or reach >= over.end else _total(counted, _SILENT),
            None if reach is None or reach > over.before().start else _total(before, _SILENT),
            _course(counted, _SILENT),
        ),
        in_sync=Figure(_share(counted), _share(before), _course_of_share(counted)),
    )


def overview(snapshot: Snapshot, name: str = "30d") -> Overview:
    """Return all that Overview shows of the period of that name in ``RANGES``."""
    over, reach = period(snapshot, name), log_reach(snapshot)
    counted = sign_ups(snapshot, over)
    return Overview(
        name=name,
        over=over,
        reach=reach,
        counted=counted,
        figures=figures(counted, sign_ups(snapshot, over.before()), over, reach),
        situations=situations(snapshot),
        funnel=funnel(snapshot, over),
        losses=members(snapshot, over, limit=8),
        stalls=stalls(snapshot, over),
        overwritten=overwritten(snapshot),
        key_expires_at=key_expiry(snapshot.wiring),
    )


def summary(shown: Overview, *, now: datetime) -> str:
    """Return one sentence on the period, the worst news first."""
    expiry = shown.key_expires_at
    clauses = [
        f"no row was written since {line['since']:%-d %b %H:%M} UTC: the last {line['lost']:,} sign-ups lost theirs"
        for line in shown.stalls[shown.stalls["until"].isna()].to_dict("records")
    ]
    if expiry and expiry <= now:
        clauses.append(f"the API key expired {span(now - expiry)} ago")
    clauses += _news(shown.counted, RANGES[shown.name][0])
    if expiry and now < expiry <= now + SOON:
        clauses.append(f"the API key expires in {span(expiry - now)}")
    sentence = "; ".join(clauses)
    return sentence[0].upper() + sentence[1:] + "."


def _news(counted: pd.DataFrame, words: str) -> list[str]:
    total, lost, silent = _total(counted, OUTCOMES), _total(counted, LOST), _total(counted, _SILENT)
    rejected = _total(counted, ["rejected"])
    if not total:
        return [f"no sign-ups in the last {words}"]
    if total - rejected == 1 and not lost:
        clauses = [f"the only sign-up of the last {words} has its row or is on the way"]
    elif lost:
        clauses = [f"{lost:,} of {total:,} sign-ups {'has' if lost == 1 else 'have'} no row"]
    else:
        clauses = [f"all {total - rejected:,} sign-ups of the last {words} have their row or are on the way"]
    if silent:
        clauses.append(f"{silent:,} {'was' if silent == 1 else 'were'} lost in silence")
    if rejected:
        clauses.append(f"{rejected:,} {'was' if rejected == 1 else 'were'} rejected")
    return clauses


def _total(counted: pd.DataFrame, outcomes: Iterable[str]) -> int:
    return int(counted[list(outcomes)].to_numpy().sum())


def _figure(counted: pd.DataFrame, before: pd.DataFrame, outcomes: Iterable[str]) -> Figure:
    return Figure(_total(counted, outcomes), _total(before, outcomes), _course(counted, outcomes))


def _course(counted: pd.DataFrame, outcomes: Iterable[str]) -> tuple[float, ...]:
    return tuple(float(count) for count in counted[list(outcomes)].sum(axis=1))


def _share(counted: pd.DataFrame) -> float | None:
    judged = _total(counted, ("row_written", *LOST))
    return float(counted["in_sync"].sum()) / judged if judged else None


def _course_of_share(counted: pd.DataFrame) -> tuple[float, ...]:
    # A dozen points at most: the share of a single hour of the night says nothing.
    width = max(1, len(counted) // 12)
    shares = [_share(counted.iloc[start : start + width]) for start in range(0, len(counted), width)]
    return tuple(share for share in shares if share is not None)

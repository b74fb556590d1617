"""Sixty days of a believable app, made from one seed: its accounts, its rows, its log, and the truth about them.

Pure: nothing here knows of a server, and the same seed, size and `now` give the same history to the byte.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

import pandas as pd

from lib.demo.loglines import Execution, Line, cognito_event, execution_lines
from lib.demo.people import people
from lib.demo.scenes import DAY, HOUR, MINUTE, SCENES, Draft
from lib.demo.story import Account, Run, Story
from lib.model import Item

DAYS = 60
LOG_DAYS = 45
KEY_EXPIRED_HOURS = 48

# How busy each hour of a day is, from midnight in Singapore.
_HOURS = (3, 2, 1, 1, 1, 2, 4, 7, 10, 11, 11, 12, 14, 12, 11, 10, 10, 11, 13, 16, 18, 16, 11, 6)
_WEEKDAYS = (1.0, 1.0, 1.05, 1.0, 0.9, 0.65, 0.6)
_SINGAPORE = timedelta(hours=8)


@dataclass(frozen=True)
class Place:
    """The names under which a history happens: they stand in its log lines."""

    region: str
    pool: str
    client: str


@dataclass(frozen=True)
class History:
    """What the pool, the table and the log group hold at ``now``, and what is true of them."""

    now: datetime
    logs_from: datetime
    key_expires_at: datetime
    stories: list[Story]
    versioned: bool
    seed: int

    def accounts(self) -> list[Account]:
        """Return every account of the pool."""
        return [account for story in self.stories if (account := story.account())]

    def rows(self) -> list[Item]:
        """Return every item of the table."""
        return [row for story in self.stories if (row := story.row(versioned=self.versioned))]

    def events(self, place: Place) -> list[dict[str, Any]]:
        """Return every log event since the log group was created, as FilterLogEvents gives them, by stream and time."""
        rng = random.Random(f"log {self.seed} {self.now}")  # noqa: S311 - a story, no secret
        runs = sorted(
            ((story, run, story.at + timedelta(seconds=run.after_s)) for story in self.stories for run in story.runs),
            key=lambda told: told[2],
        )
        sandboxes = _Sandboxes(rng)
        lines: list[tuple[str, Line]] = []
        for story, run, started_at in runs:
            if started_at >= self.logs_from:
                execution, stream = sandboxes.execute(run, started_at)
                lines += [(stream, line) for line in execution_lines(execution, _event(story, run, place))]
        lines.sort(key=lambda told: (told[0], told[1].at_ms))
        return [log_event(stream, line.at_ms, line.message, number) for number, (stream, line) in enumerate(lines)]

    def truth(self, at: datetime | None = None, grace_minutes: float = 15) -> pd.DataFrame:
        """Return what a first refresh that starts at ``at`` (default: `now`) must find.

        Columns: kind (account | row | email), id, situation, cause, twins, overwritten (by a password reset). One line
        per account, per row without account and per e-mail held twice; soft-deleted rows without account have none.
        """
        aged = timedelta(minutes=grace_minutes)
        lines = [line for story in self.stories if (line := _truth(story, at or self.now, aged))]
        for key, ids in _holders(self.stories).items():
            lines.append({"kind": "email", "id": key, "situation": "duplicate", "cause": None, "twins": ids})
        columns = ["kind", "id", "situation", "cause", "twins", "overwritten"]
        return pd.DataFrame([{"overwritten": False} | line for line in lines], columns=columns)


def make(seed: int, accounts: int, now: datetime, *, versioned: bool = True) -> History:
    """Return the history of an app with about so many accounts that ends at ``now``."""
    rng = random.Random(f"{seed} {accounts} {now} {versioned}")  # noqa: S311 - a story, no secret
    draft = Draft(
        rng=rng,
        now=now,
        logs_from=now - timedelta(days=LOG_DAYS),
        # AppSync rounds a key's expiry down to the hour.
        key_expires_at=(now - timedelta(hours=KEY_EXPIRED_HOURS)).replace(minute=0, second=0, microsecond=0),
        people=people(rng),
        scale=accounts / 3000,
        versioned=versioned,
    )
    for at in sign_up_times(rng, now, max(accounts - round(180 * draft.scale), 1)):
        story = draft.story(at)
        story.runs = [Run(duration_ms=draft.quick())]
    draft.plain, draft.special = draft.special, []
    for scene in SCENES:
        scene(draft)
    stories = sorted(draft.plain + draft.special, key=lambda story: story.at)
    return History(now, draft.logs_from, draft.key_expires_at, stories, versioned, seed)


def sign_up_times(rng: random.Random, now: datetime, number: int) -> list[datetime]:
    """Return when people signed up, in order: by hour and weekday, a few more each week, none too young to judge."""
    start = now - DAYS * DAY
    hours = [start + index * HOUR for index in range(DAYS * 24)]
    weights = [_busy(hour + _SINGAPORE) * (1 + 0.4 * index / len(hours)) for index, hour in enumerate(hours)]
    moments = [hour + HOUR * rng.random() for hour in rng.choices(hours, weights, k=number)]
    return sorted(moment - HOUR if moment > now - 17 * MINUTE else moment for moment in moments)


def log_event(stream: str, at_ms: int, message: str, number: int) -> dict[str, Any]:
    """Return one event as FilterLogEvents gives it; ids have 56 digits and grow with time, as CloudWatch's do."""
    return {
        "logStreamName": stream,
        "timestamp": at_ms,
        "message": message,
        "ingestionTime": at_ms + 400 + number * 7919 % 2600,
        "eventId": str((at_ms << 144) + (number << 96)),
    }


def _busy(local: datetime) -> float:
    return _HOURS[local.hour] * _WEEKDAYS[local.weekday()]


def _truth(story: Story, at: datetime, aged: timedelta) -> dict[str, Any] | None:
    situation, cause = story.situation, story.cause
    if story.later and at - story.created_at >= aged:
        situation, cause = story.later
    if situation is None:
        return None
    kind = "account" if story.has_account else "row"
    return {
        "kind": kind,
        "id": story.username,
        "situation": situation,
        "cause": cause,
        "twins": [],
        "overwritten": story.is_overwritten,
    }


def _holders(stories: list[Story]) -> dict[str, list[str]]:
    """Return each e-mail key that two or more of the stories hold, with their ids."""
    holders: dict[str, list[str]] = {}
    for story in stories:
        for key in story.email_keys():
            holders.setdefault(key, []).append(story.username)
    return {key: sorted(ids) for key, ids in holders.items() if len(ids) > 1}


def _event(story: Story, run: Run, place: Place) -> dict[str, Any]:
    attributes = {"email": story.person.email} | ({"name": story.person.name} if story.person.name else {})
    if run.source:
        attributes = {"sub": story.sub, "email_verified": "true", "cognito:user_status": "CONFIRMED"} | attributes
    by_staff = story.source == "PreSignUp_AdminCreateUser"
    return cognito_event(
        region=place.region,
        pool=place.pool,
        client="CLIENT_ID_NOT_APPLICABLE" if by_staff else place.client,
        username=run.username or story.username,
        source=run.source or story.source,
        attributes={} if run.ending == "error" else attributes,
    )


class _Sandboxes:
    """Lambda's sandboxes: one run at a time in each, kept warm for a while, thrown away when a run ends badly."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._warm: dict[str, datetime] = {}

    def execute(self, run: Run, started_at: datetime) -> tuple[Execution, str]:
        """Return the run as the platform logs it, and the stream of the sandbox that it got."""
        idle = [name for name, free_at in self._warm.items() if free_at < started_at < free_at + 20 * MINUTE]
        stream = idle[-1] if idle and run.ending != "init_error" else None
        cold = stream is None
        stream = stream or f"{started_at:%Y/%m/%d}/[$LATEST]{self._rng.getrandbits(128):032x}"
        execution = Execution(
            request_id=self._request_id(),
            started_ms=int(started_at.timestamp() * 1000),
            duration_ms=round(run.duration_ms, 2),
            ending=run.ending,
            init_ms=round(self._rng.uniform(130, 480), 2) if cold else None,
            used_mb=128 if run.ending == "oom" else self._rng.randrange(62, 75),
            logged=run.logged,
        )
        self._warm = {name: free_at for name, free_at in self._warm.items() if free_at + 20 * MINUTE > started_at}
        self._warm.pop(stream, None)
        if run.ending == "completed":
            self._warm[stream] = started_at + timedelta(milliseconds=run.duration_ms + 5)
        return execution, stream

    def _request_id(self) -> str:
        number = f"{self._rng.getrandbits(128):032x}"
        return f"{number[:8]}-{number[8:12]}-4{number[13:16]}-a{number[17:20]}-{number[20:]}"


def by_stream(events: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield each stream's name with its events, as they are sorted by stream."""
    for stream, group in groupby(events, key=lambda event: event["logStreamName"]):
        yield str(stream), list(group)

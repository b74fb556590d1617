"""What a person has judged: findings accepted, for good or until a day, and counted again when that is over."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from lib.journal import ACCEPTED_FINDING, Journal
from lib.model import ConfigError, iso, now
from lib.snapshot import Snapshot
from lib.snapshot.judged import subject

_NAMES = ("account_id", "sub", "row_id")


@dataclass(frozen=True)
class Judged:
    """The acceptances in effect: subjects of ``lib.snapshot.judged`` by situation.

    ``over`` is how many have ever run out, so it never falls.
    """

    by_situation: Mapping[str, frozenset[str]]
    over: int


def in_effect(journal: Journal, environment: str) -> Judged:
    """Return what is accepted in an environment at this moment; of one finding the last word holds."""
    at, over = iso(now()), 0
    last: dict[str, str | None] = {}
    for event in journal.events(environment, ACCEPTED_FINDING):
        body = event["body"]
        is_over = body["until"] is not None and body["until"] <= at
        over += is_over
        last.setdefault(body["subject"], None if is_over else body["situation"])
    found: dict[str, set[str]] = {}
    for known, situation in last.items():
        if situation:
            found.setdefault(situation, set()).add(known)
    return Judged({situation: frozenset(subjects) for situation, subjects in found.items()}, over)


def accept(
    journal: Journal,
    environment: str,
    snapshot: Snapshot,
    id: str,
    *,
    who: str,
    why: str,
    until: datetime | None = None,
    situation: str | None = None,
) -> list[str]:
    """Record that a person has judged the findings about an id, and return their situations.

    ``id`` is a Username, a sub or a row id; a duplicate is named by any of those that share the e-mail.
    ``situation`` is the only one meant; ``until`` in the past takes an acceptance back. Raises ``ConfigError`` where no
    finding is about the id, or without a reason.
    """
    if not why.strip():
        raise ConfigError("Say why the finding is accepted: whoever sees it next wants to know.")
    about = [line for line in snapshot.table("findings").to_pylist() if _is_about(line, id)]
    lines = [line for line in about if situation in (None, line["situation"])]
    if not lines:
        raise ConfigError(
            f"There is no finding about {id!r} in snapshot {snapshot.stamp} of {environment}. "
            f"`python -m lib findings --env {environment}` lists them."
        )
    for line in lines:
        body = {"situation": line["situation"], "subject": subject(line), "until": until and iso(until)}
        journal.record(ACCEPTED_FINDING, environment=environment, who=who, why=why, body=body)
    return [line["situation"] for line in lines]


def last_moment(day: str) -> datetime:
    """Return the end of a day, UTC; raise ``ConfigError`` for what is none, or is over."""
    try:
        ends = datetime.combine(date.fromisoformat(day) + timedelta(days=1), time(), UTC)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{day!r} is no date. Expected one such as 2027-01-31.") from error
    if ends <= now():
        raise ConfigError(f"{day} is over already. Name a day to come, or leave it out.")
    return ends


def _is_about(line: Mapping[str, object], id: str) -> bool:
    twins = line["twins"] if line["situation"] == "duplicate" else ()
    return id in [line[name] for name in _NAMES] or (isinstance(twins, list) and id in twins)

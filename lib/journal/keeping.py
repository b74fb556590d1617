"""What is taken out of the journal, and given out of it: purge, forgetting a person, the audit as JSON lines."""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lib.display import masked
from lib.journal.chain import Entry, sealed
from lib.journal.database import SEALED, Database
from lib.journal.reading import OPEN
from lib.journal.tables import CHAIN, EVENTS, RUNS, STEPS
from lib.model import Refused, iso
from lib.person import Person

_IMAGES = ("before", "after", "account")
_IDS = ("account_id", "sub", "row_id")
_SPEAKING = (*_IMAGES, *_IDS, "condition", "reason", "message")


def purge(connection: Connection, environment: str, before: datetime) -> int:
    """Put a digest in the place of every image of the runs that ended before, and return of how many steps."""
    ended = sa.and_(
        RUNS.c.environment == environment,
        RUNS.c.ended_at < iso(before),
        RUNS.c.state.not_in(("running", "waiting")),
    )
    has_image = sa.or_(*(sa.and_(STEPS.c[name].is_not(None), ~STEPS.c[name].startswith(SEALED)) for name in _IMAGES))
    steps = (
        sa.select(STEPS).join(RUNS, RUNS.c.run_id == STEPS.c.run_id).where(ended, has_image, STEPS.c.state.not_in(OPEN))
    )
    return _seal(connection, connection.execute(steps).mappings().all(), lambda _step: _IMAGES)


def widened(connection: Connection, environment: str, person: Person) -> Person:
    """Return the person with every id and e-mail that the steps on them know them by."""
    ids, emails = set(person.ids), set(person.emails)
    for step in _steps(connection, environment):
        if any(person.named(step[name]) for name in _IDS):
            ids |= {step[name] for name in _IDS if step[name] and not step[name].startswith(SEALED)}
            emails |= set(_emails(step))
    return Person(ids, emails)


def forget(connection: Connection, environment: str, person: Person) -> int:
    """Put a digest in the place of everything that speaks of a person, and return in how many entries it did.

    Raises ``Refused`` while a step on the person is open: settling it needs what would be taken away.
    """
    steps = [step for step in _steps(connection, environment) if _speaking(step, person)]
    if any(step["state"] in OPEN for step in steps):
        raise Refused(
            "Nothing was forgotten: a repair of this person is under way or not settled yet. "
            "Apply or undo any run of this environment, which settles it; then do it again."
        )
    count = _seal(connection, steps, lambda step: _named(step, person))
    for table, names in ((RUNS, ("why", "message")), (EVENTS, ("why", "body"))):
        entries = connection.execute(sa.select(table).where(table.c.environment == environment)).mappings().all()
        for entry in entries:
            spoken = [name for name in names if person.mentioned(entry[name])]
            if spoken:
                values = {name: sealed(entry[name]) for name in spoken}
                connection.execute(sa.update(table).where(table.c.number == entry["number"]).values(values))
                count += 1
    return count


def audit(database: Database, environment: str | None, *, reveal: bool) -> Iterator[str]:
    """Yield the audit as JSON lines: every run, step, decision and link of the chain, e-mails masked unless revealed.

    ``entry`` says what a line is. A link's `head` is the SHA-256 of the head before, a line feed, and the link as JSON
    with sorted keys but without `head`, so that anybody can check the chain; its links are those of all environments.
    """
    runs, events, steps = sa.select(RUNS), sa.select(EVENTS), sa.select(STEPS)
    if environment is not None:
        runs, events = (each.where(each.selected_columns["environment"] == environment) for each in (runs, events))
        steps = steps.where(STEPS.c.run_id.in_(runs.with_only_columns(RUNS.c.run_id)))
    for entry, chosen in (
        ("run", runs.order_by(RUNS.c.number)),
        ("step", steps.order_by(STEPS.c.seq, STEPS.c.run_id, STEPS.c.number)),
        ("decision", events.order_by(EVENTS.c.number)),
    ):
        for found in database.read(chosen):
            yield _line(entry, found if reveal else masked(found))
    with database.connected() as connection:
        for link in connection.execute(sa.select(CHAIN).order_by(CHAIN.c.number)).mappings():
            yield _line("link", dict(link))


def _seal(connection: Connection, steps: Iterable[Entry], names: Callable[[Entry], Iterable[str]]) -> int:
    count = 0
    for step in steps:
        values = {name: sealed(step[name]) for name in names(step)}
        one = sa.update(STEPS).where(STEPS.c.run_id == step["run_id"], STEPS.c.number == step["number"])
        connection.execute(one.values(values))
        count += 1
    return count


def _steps(connection: Connection, environment: str) -> Iterator[Entry]:
    of_it = STEPS.c.run_id.in_(sa.select(RUNS.c.run_id).where(RUNS.c.environment == environment))
    yield from connection.execute(sa.select(STEPS).where(of_it)).mappings()


def _emails(step: Entry) -> Iterator[str]:
    for name in _IMAGES:
        image = json.loads(step[name]) if step[name] and not step[name].startswith(SEALED) else {}
        email = (image or {}).get("email")
        text = email.get("S") if isinstance(email, dict) else email
        if isinstance(text, str):
            yield text


def _speaking(step: Entry, person: Person) -> bool:
    return any(person.mentioned(step[name]) for name in _SPEAKING)


def _named(step: Entry, person: Person) -> Iterable[str]:
    """Return the columns of a step to be sealed: all of the person's own step, else those that mention them."""
    own = any(person.named(step[name]) for name in _IDS)
    return _SPEAKING if own else [name for name in _SPEAKING if person.mentioned(step[name])]


def _line(entry: str, content: Entry) -> str:
    return json.dumps({"entry": entry} | dict(content)) + "\n"

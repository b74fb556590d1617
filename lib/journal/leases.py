"""The right to write: one holder per environment, each with a fence one higher than the last one's."""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lib.journal.database import Database, Taken, clock
from lib.journal.tables import LEASE
from lib.model import JournalError, Refused, iso

LEASE_SECONDS = 300
"""How long a lease outlives its last renewal; every step renews it, and hardly a step takes that long."""

_LONG_AGO = iso(datetime(1970, 1, 1, tzinfo=UTC))


@dataclass(frozen=True)
class Lease:
    """The right to write to one environment; every holder's fence is one more than the last one's."""

    environment: str
    holder: str
    fence: int


@contextmanager
def held(database: Database, environment: str, holder: str, seconds: float) -> Iterator[Lease]:
    """Hold the lease for the block; raise ``Refused`` with the holder's name when it is taken."""
    lease = acquired(database, environment, holder, seconds)
    try:
        yield lease
    finally:
        with database.connected() as connection:
            connection.execute(_of(lease).values(expires_at=_LONG_AGO))


def acquired(database: Database, environment: str, holder: str, seconds: float) -> Lease:
    """Return the lease that was free, expired, or of a process of this machine that died."""
    mine = {"holder": holder, "host": socket.gethostname(), "pid": os.getpid()}
    with database.connected() as connection:
        at = clock(connection)
        mine |= {"expires_at": iso(at + timedelta(seconds=seconds))}
        free = sa.update(LEASE).where(LEASE.c.environment == environment, LEASE.c.expires_at <= iso(at))
        if connection.execute(free.values(mine | {"fence": LEASE.c.fence + 1})).rowcount:
            return Lease(environment, holder, _fence(connection, environment))
    try:
        with database.connected() as connection:
            connection.execute(sa.insert(LEASE).values(mine | {"environment": environment, "fence": 1}))
            return Lease(environment, holder, 1)
    except Taken:
        return _taken_over(database, environment, mine)


def renew(connection: Connection, lease: Lease) -> None:
    """Renew the lease in this very transaction; raise ``JournalError`` where somebody else has it now."""
    expires_at = iso(clock(connection) + timedelta(seconds=LEASE_SECONDS))
    if not connection.execute(_of(lease).values(expires_at=expires_at)).rowcount:
        raise JournalError(
            f"Another run took over {lease.environment} because this one had not been heard of for "
            f"{LEASE_SECONDS} s. This one wrote nothing since; apply the plan again."
        )


def holder(database: Database, environment: str) -> str | None:
    """Return who holds an environment's lease and still lives, if anybody."""
    with database.connected() as connection:
        at = clock(connection)
        found = connection.execute(sa.select(LEASE).where(LEASE.c.environment == environment)).mappings().first()
    if found is None or found["expires_at"] <= iso(at) or _is_dead(found["host"], found["pid"]):
        return None
    return str(found["holder"])


def _taken_over(database: Database, environment: str, mine: Mapping[str, Any]) -> Lease:
    [current] = database.read(sa.select(LEASE).where(LEASE.c.environment == environment))
    if not _is_dead(current["host"], current["pid"]):
        raise Refused(
            f"{current['holder']} is repairing {environment} right now. "
            f"Try again when that run has ended (its lease expires at {current['expires_at']} at the latest)."
        )
    with database.connected() as connection:
        of_the_dead = sa.update(LEASE).where(LEASE.c.environment == environment, LEASE.c.fence == current["fence"])
        if connection.execute(of_the_dead.values({**mine, "fence": LEASE.c.fence + 1})).rowcount:
            return Lease(environment, mine["holder"], current["fence"] + 1)
    raise Refused(f"Somebody else has just begun to repair {environment}. Try again when that run has ended.")


def _of(lease: Lease) -> sa.Update:
    return sa.update(LEASE).where(LEASE.c.environment == lease.environment, LEASE.c.fence == lease.fence)


def _fence(connection: Connection, environment: str) -> int:
    return int(connection.execute(sa.select(LEASE.c.fence).where(LEASE.c.environment == environment)).scalar_one())


def _is_dead(host: str, pid: int) -> bool:
    if host != socket.gethostname():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False

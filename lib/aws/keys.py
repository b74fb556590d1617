"""The keys of an AppSync API. A key is a secret and its own id: only a digest of it ever leaves this module."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lib.aws import functions
from lib.aws.session import Aws
from lib.model import NotReadable

KEPT = timedelta(days=60)
"""How long AppSync keeps an expired key, so that it can still be extended."""

DAYS = (1, 365)
"""How many days from now a key can be made to expire."""

# AppSync reckons from the moment at which it hears of it, by its own clock.
_MARGIN = timedelta(minutes=10)


@dataclass(frozen=True)
class Key:
    """What may be known of a key outside."""

    digest: str
    expires_at: datetime


def digest(key: str) -> str:
    """Return what may be stored of a key."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def listed(aws: Aws, api_id: str) -> list[Key]:
    """Return the keys of an API, those expired in the last 60 days among them."""
    return [_known(key) for key in _read(aws, api_id)]


def used(aws: Aws, api_id: str, names: Iterable[str]) -> list[Key]:
    """Return the keys of an API that stand in the environment of one of the functions, under whatever name.

    Raises ``NotReadable`` where an environment cannot be decrypted.
    """
    values: set[str] = set()
    for name in names:
        facts = functions.facts("", name, functions.configuration(aws, name))
        if facts.variables is None:
            raise NotReadable(f"The environment of function {name} cannot be decrypted: {facts.environment_error}.")
        values |= set(facts.variables.values())
    return [_known(key) for key in _read(aws, api_id) if key["id"] in values]


def known(aws: Aws, api_id: str, digest: str) -> Key | None:
    """Return the key with this digest as it is now, None where the API has no such key."""
    return next((key for key in listed(aws, api_id) if key.digest == digest), None)


def expiry(days: int, at: datetime) -> datetime:
    """Return the expiry that AppSync gives a key that is to live so many days from ``at``: it keeps full hours."""
    wanted = at + timedelta(days=days)
    wanted += -_MARGIN if days == DAYS[1] else _MARGIN
    floor = wanted.replace(minute=0, second=0, microsecond=0)
    # A day is the least it takes, and is reckoned before it is cut to the hour.
    return floor if floor - at >= timedelta(days=DAYS[0]) + _MARGIN else floor + timedelta(hours=1)


def extend(aws: Aws, api_id: str, of: str, until: datetime) -> None:
    """Let the key with the digest ``of`` expire at ``until``; raise ``NotReadable`` where the API has no such key."""
    found = next((key["id"] for key in _read(aws, api_id) if digest(key["id"]) == of), None)
    if found is None:
        raise NotReadable(f"API {api_id} has no key with the digest {of} any more. Create one and deploy it.")
    with aws.calling(f"extend a key of API {api_id}", action="appsync:UpdateApiKey"):
        aws.writer("appsync").update_api_key(apiId=api_id, id=found, expires=int(until.timestamp()))


def _read(aws: Aws, api_id: str) -> list[dict[str, Any]]:
    with aws.calling(f"list the keys of API {api_id}", action="appsync:ListApiKeys"):
        pages = aws.client("appsync").get_paginator("list_api_keys").paginate(apiId=api_id)
        return [key for page in pages for key in page["apiKeys"] if key.get("expires")]


def _known(key: dict[str, Any]) -> Key:
    return Key(digest(key["id"]), datetime.fromtimestamp(key["expires"], UTC))

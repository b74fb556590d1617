"""The keys of an AppSync API. A key is a secret and its own id: only a digest of it ever leaves this module."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lib.aws import function
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


def used(aws: Aws, api_id: str, functions: Iterable[str]) -> list[Key]:
    """Return the keys of an API that stand in the environment of one of the functions, by whatever name.

    Raises ``NotReadable`` where an environment cannot be decrypted.
    """
    values: set[str] = set()
    for name in functions:
        found = function.variables(function.configuration(aws, name))
        if found is None:
            raise NotReadable(
                f"The environment of function {name} cannot be decrypted by this role. Allow kms:Decrypt."
            )
        values |= set(found.values())
    return [_known(key) for key in _read(aws, api_id) if key["id"] in values]


def expiry(days: int, at: datetime) -> datetime:
    """Return the expiry that AppSync gives a key that is to live so many days from ``at``: it keeps full hours."""
    wanted = at + timedelta(days=days)
    wanted += -_MARGIN if days == DAYS[1] else _MARGIN
    floor = wanted.replace(minute=0, second=0, microsecond=0)
    # A day is the least it takes, and is reckoned before it is cut to the hour.
    return floor if floor - at >= timedelta(days=DAYS[0]) + _MARGIN else floor + timedelta(hours=1)


def extend(aws: Aws, api_id: str, digest_of: str, until: datetime) -> Key:
    """Let the key with this digest expire at ``until``, and return it as AppSync has it then.

    Raises ``NotReadable`` where the API has no such key.
    """
    found = next((key for key in _read(aws, api_id) if digest(key["id"]) == digest_of), None)
    if found is None:
        raise NotReadable(f"API {api_id} has no key with the digest {digest_of} any more. Create one and deploy it.")
    # What is not sent may be emptied.
    kept = {"description": found["description"]} if found.get("description") else {}
    with aws.calling(f"extend a key of API {api_id}", action="appsync:UpdateApiKey"):
        answer = aws.writer("appsync").update_api_key(
            apiId=api_id, id=found["id"], expires=int(until.timestamp()), **kept
        )
        return _known(answer["apiKey"])


def _read(aws: Aws, api_id: str) -> list[dict[str, Any]]:
    with aws.calling(f"list the keys of API {api_id}", action="appsync:ListApiKeys"):
        pages = aws.client("appsync").get_paginator("list_api_keys").paginate(apiId=api_id)
        return [key for page in pages for key in page["apiKeys"] if key.get("expires")]


def _known(key: dict[str, Any]) -> Key:
    return Key(digest(key["id"]), datetime.fromtimestamp(key["expires"], UTC))

"""The rescue of an API key: the very key in the trigger's environment is made to live on, so the trigger heals at once.

One write, no deploy. It is journalled as two decisions: one before the write, one once the key was read back. What
broke off in between is told by reading the key back.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from lib.aws import keys
from lib.aws.session import Aws
from lib.display import counted
from lib.journal import Journal
from lib.model import AwsError, NotReadable, Refused, Wiring, iso, moment, now

SOON = timedelta(days=7)
"""A key that lives longer than this needs no rescue; seven days are what Amplify gives a new one."""

BEGUN, ENDED = "key_rescue_begun", "key_rescue_ended"

WARNING = (
    "Amplify's own configuration knows nothing of it. Set the same expiry there (`amplify update api`), or a later "
    "`amplify push` may fail or shorten it again."
)
UNDO = (
    "AppSync takes no expiry less than a day ahead: it can be set to another one, down to a day from then, but an "
    "expired key cannot be made to have expired again."
)


@dataclass(frozen=True)
class Plan:
    """What a rescue would do: the key by its digest, its expiry before and after."""

    environment: str
    api_id: str
    functions: tuple[str, ...]
    digest: str
    expires_at: datetime
    until: datetime
    at: datetime

    @property
    def expired(self) -> bool:
        """Whether the key had expired when the plan was made."""
        return self.expires_at <= self.at

    def lasting(self, days: int) -> "Plan":
        """Return the same plan for another life of the key."""
        return replace(self, until=keys.expiry(days, self.at))

    def aws_cli(self) -> str:
        """Return the same as an AWS CLI command; the key itself is for whoever runs it to fill in."""
        until = int(self.until.timestamp())
        return f"aws appsync update-api-key --api-id {self.api_id} --id THE_KEY --expires {until}"


@dataclass(frozen=True)
class Rescued:
    """How a rescue ended: `done` (read back), `failed` (the key is as before) or `unknown`."""

    state: str
    expires_at: datetime | None
    message: str


def plan(aws: Aws, wiring: Wiring, days: int, at: datetime | None = None) -> Plan:
    """Return what a rescue would do; raise ``Refused`` where no key needs one, or it is not clear which."""
    at = at or now()
    low, high = keys.DAYS
    if not low <= days <= high:
        raise Refused(f"AppSync lets a key live for {low} to {high} days, not for {days}.")
    api_id = wiring.api_id
    if not api_id or not wiring.functions:
        missing = "The API is not known. Set api_id" if not api_id else "The trigger's function is not known. Attach it"
        raise Refused(f"{missing}, then try again.")
    key = _only_key(keys.used(aws, api_id, wiring.functions), api_id)
    if key.expires_at - at > SOON:
        raise Refused(f"The trigger's key is valid until {key.expires_at:%Y-%m-%d %H:%M} UTC, so it needs no rescue.")
    until = keys.expiry(days, at)
    if until - key.expires_at < timedelta(days=1):
        raise Refused(f"The trigger's key already lives until {key.expires_at:%Y-%m-%d %H:%M} UTC. Choose more days.")
    return Plan(aws.settings.name, api_id, wiring.functions, key.digest, key.expires_at, until, at)


def apply(plan: Plan, aws: Aws, journal: Journal, *, who: str, why: str | None) -> Rescued:
    """Extend the key if it still is as planned, and return what reading it back shows.

    Raises ``Refused`` where it changed meanwhile or somebody else is repairing, ``JournalError`` where the journal
    fails, ``AwsError`` where nothing can be read.
    """
    with journal.lease(plan.environment, who):
        _settle(aws, journal, plan.environment, who)
        if not _is(keys.known(aws, plan.api_id, plan.digest), plan.expires_at):
            raise Refused("The key is not as it was in the preview, so it was left alone. Look again.")
        rescue_id = secrets.token_hex(8)
        body = {
            "rescue_id": rescue_id,
            "pool": aws.settings.user_pool_id,
            "api_id": plan.api_id,
            "digest": plan.digest,
            "expired_at": iso(plan.expires_at),
            "until": iso(plan.until),
        }
        journal.record(BEGUN, environment=plan.environment, who=who, why=why, body=body)
        said = _extend(plan, aws)
        return _ended(aws, journal, plan.environment, who, body, said)


def settle(aws: Aws, journal: Journal, environment: str, *, who: str) -> list[Rescued]:
    """Tell by reading the key back what became of rescues that were broken off, and record it."""
    if not _open(journal, environment):
        return []
    with journal.lease(environment, who):
        return _settle(aws, journal, environment, who)


def facts(journal: Journal, environment: str, pool: str) -> tuple[Mapping[str, str], ...]:
    """Return what rescues knew of keys, as a wiring's ``keys``: the old expiry until the rescue, the new one since.

    With them the causes of the gap stay what they were, to the second, whatever the next refresh sees.
    """
    begun = {event["body"]["rescue_id"]: event for event in journal.events(environment, BEGUN)}
    found: list[Mapping[str, str]] = []
    for event in reversed(journal.events(environment, ENDED)):
        before, body = begun[event["body"]["rescue_id"]], event["body"]
        if body["state"] != "done" or before["body"]["pool"] != pool:
            continue
        key = before["body"]["digest"]
        found.append({"digest": key, "expires_at": before["body"]["expired_at"], "seen_at": before["at"]})
        found.append({"digest": key, "expires_at": body["expires_at"], "seen_at": event["at"]})
    return tuple(found)


def _only_key(used: list[keys.Key], api_id: str) -> keys.Key:
    if len(used) == 1:
        return used[0]
    if used:
        raise Refused(f"The trigger's environment names {counted(len(used), 'key')} of API {api_id}: not clear which.")
    raise Refused(
        f"API {api_id} does not list the key in the trigger's environment: AppSync keeps an expired key for "
        f"{keys.KEPT.days} days. Create a key and deploy the function with it."
    )


def _extend(plan: Plan, aws: Aws) -> str:
    """Call AppSync; return what it said where it failed. Reading the key back tells what became of it."""
    try:
        keys.extend(aws, plan.api_id, plan.digest, plan.until)
    except (AwsError, NotReadable) as error:
        return str(error)
    return ""


def _settle(aws: Aws, journal: Journal, environment: str, who: str) -> list[Rescued]:
    said = "The rescue was broken off before it heard of the outcome."
    return [_ended(aws, journal, environment, who, body, said) for body in _open(journal, environment)]


def _open(journal: Journal, environment: str) -> list[dict[str, Any]]:
    ended = {event["body"]["rescue_id"] for event in journal.events(environment, ENDED)}
    begun = [event["body"] for event in reversed(journal.events(environment, BEGUN))]
    return [body for body in begun if body["rescue_id"] not in ended]


def _ended(aws: Aws, journal: Journal, environment: str, who: str, body: Mapping[str, Any], said: str) -> Rescued:
    """Read the key back, record how the rescue ended, and return it; one that cannot be read stays open."""
    try:
        found = keys.known(aws, body["api_id"], body["digest"])
    except AwsError as error:
        return Rescued("unknown", None, f"{said} {error} The next look at this page tells.".strip())
    if _is(found, moment(body["until"])):
        state, message = "done", "The key was read back with its new expiry."
    elif _is(found, moment(body["expired_at"])):
        state, message = "failed", f"{said} The key is as it was.".strip()
    else:
        state, message = "failed", f"{said} The key has been changed by somebody else, or is gone.".strip()
    expires = iso(found.expires_at) if found else None
    result = {"rescue_id": body["rescue_id"], "state": state, "expires_at": expires, "message": message}
    journal.record(ENDED, environment=environment, who=who, body=result)
    return Rescued(state, found.expires_at if found else None, message)


def _is(key: keys.Key | None, expires_at: datetime | None) -> bool:
    # AppSync keeps full hours.
    return key is not None and expires_at is not None and abs(key.expires_at - expires_at) < timedelta(hours=1)

"""The gap that an expired API key left: from its expiry until it lived again, and who was lost in it."""

from dataclasses import dataclass
from datetime import UTC, datetime

from lib.model import moment
from lib.snapshot import Snapshot

# Most triggers hide that the API refused the key: those accounts have the cause by its name. One that logs what the
# API answered is a trigger that failed; the answer tells that it was the key.
_LOST = """
select account_id from pairs
where situation = 'orphaned_account' and account_created_at >= $since and account_created_at < $until
    and (
        cause = 'api_key_expired'
        or (
            cause = 'trigger_error'
            and exists (
                select 1 from invocations i
                where list_contains(pairs.request_ids, i.request_id)
                    and regexp_matches(concat_ws(' ', i.logged_error, i.error_type, i.error_message), $refused)
            )
        )
    )
order by account_created_at, account_id
"""
_REFUSED = r"\b401\b|Unauthorized"


@dataclass(frozen=True)
class Gap:
    """When the trigger had no valid key (``until`` None: still so), and who was lost in it and has no row yet."""

    since: datetime
    until: datetime | None
    accounts: tuple[str, ...]


def key_gap(snapshot: Snapshot) -> Gap | None:
    """Return the latest gap that the snapshot knows of; None where no key of the trigger ever expired in use."""
    facts = sorted(
        (seen_at, expires_at)
        for key in snapshot.wiring.keys
        if (seen_at := moment(key["seen_at"])) and (expires_at := moment(key["expires_at"]))
    )
    taken_at = datetime.fromisoformat(snapshot.manifest["finished_at"]).astimezone(UTC)
    ends: list[datetime | None] = [seen_at for seen_at, _ in facts[1:]]
    for (_, since), until in reversed(list(zip(facts, [*ends, None], strict=True))):
        if since < (until or taken_at):
            lost = snapshot.sql(_LOST, since=since, until=until or taken_at, refused=_REFUSED)
            return Gap(since, until, tuple(lost["account_id"]))
    return None

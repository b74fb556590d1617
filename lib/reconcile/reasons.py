"""The one sentence that says why a pair is in its situation, made from the facts that `reconcile.sql` found."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from lib.model import iso

Line = Mapping[str, Any]
"""One line of `reconcile.sql`, with ``notes``, ``twins`` and ``request_ids`` as lists."""

_MARKS = {
    "id_not_text": "its id is no text",
    "email_not_text": "its e-mail is no text",
    "owner_not_text": "its owner is no text",
    "deleted_not_boolean": "its _deleted is neither true nor false",
    "ttl_in_milliseconds": "its _ttl is in milliseconds, so it would never expire",
}


def reason(line: Line) -> str | None:
    """Return the sentence for a line; None for a pair in sync that needs no word."""
    if line["cause"]:
        return _CAUSES[line["cause"]](line)
    return _SITUATIONS[line["situation"]](line)


def confirmed(sentence: str | None, at: datetime) -> str:
    """Return the sentence of a pair that was repaired and read back since the snapshot began."""
    return " ".join(filter(None, [sentence, f"Repaired, confirmed at {iso(at)}."]))


def _malformed(line: Line) -> str:
    marks = [_MARKS[note] for note in line["notes"] if note in _MARKS]
    if line["is_unmatched"] and not marks:
        marks.append("it lacks the attribute by which it would be matched to an account")
    return f"The row cannot be judged: {' and '.join(marks) or 'its account has an e-mail and it has none'}."


def _drift(line: Line) -> str:
    if "look_alike_email" in line["notes"]:
        return "The e-mails of account and row look alike but are written in different characters."
    return "The account's e-mail is not the row's."


def _duplicate(line: Line) -> str:
    return f"{len(line['twins'])} accounts or rows have this e-mail."


def _in_sync(line: Line) -> str | None:
    if not line["is_overwritten"]:
        return None
    return f"The row was written anew when the password was reset at {_at(line['started_at'])}{_requests(line)}."


_SITUATIONS: dict[str, Callable[[Line], str | None]] = {
    "malformed_row": _malformed,
    "tombstone": lambda line: "The account lives, but its row is soft-deleted.",
    "in_flight": lambda line: "Too young to judge: the other side may still be on its way.",
    "out_of_scope": lambda line: "No row is expected before the sign-up is confirmed.",
    "unversioned_row": lambda line: "The row has no _version, so DataStore and Studio do not see it.",
    "drift": _drift,
    "duplicate": _duplicate,
    "in_sync": _in_sync,
}


def _row_deleted(line: Line) -> str:
    return f"The row was there until it was deleted: last seen at {_at(line['last_seen'])}."


def _ran(line: Line, what: str) -> str:
    """Say that the trigger ran and `what` became of its last attempt."""
    attempt = {1: "which", 2: "the second attempt", 3: "the third attempt"}[line["attempts"]]
    at = _at(line["group_started_at"])
    return f"Sign-up at {at} ran the trigger{_requests(line)}, {attempt} {what}; no row was written."


def _failed(line: Line) -> str:
    if line["last_outcome"] == "completed":
        return _ran(line, f"finished{_took(line)} after logging an error of its own ({_short(line['logged_error'])})")
    error = ": ".join(filter(None, [line["error_type"], line["error_message"]]))
    return _ran(line, f"failed{f' ({_short(error)})' if error else ''}")


def _finished(line: Line) -> str:
    return _ran(line, f"finished{_took(line)} without an error")


def _expired(line: Line) -> str:
    before = _span(line["started_at"] - line["expired_at"])
    return f"{_finished(line)} The API key had expired {before} before."


def _init_error(line: Line) -> str:
    at = _at(line["started_at"])
    return f"The trigger could not start at {at}, when this account was created or changed; no other account fits."


def _account_deleted(line: Line) -> str:
    return f"The account was there until it was deleted: last seen at {_at(line['last_seen'])}."


def _late(line: Line) -> str:
    at = _at(line["group_started_at"])
    return (
        f"The trigger{_requests(line)} ran longer than the 5 s that Cognito waits from {at} on, and wrote the row late."
    )


def _repeated(line: Line) -> str:
    at = _at(line["group_started_at"])
    return f"A sign-up at {at}{_requests(line)} wrote the row, but another account has this e-mail."


def _rejected(line: Line) -> str:
    at = _at(line["group_started_at"])
    return (
        f"A sign-up at {at}{_requests(line)} wrote the row, but its account was never seen: it was rejected afterwards."
    )


def _unknown(line: Line) -> str:
    if line["holder"] is not None:
        return f"The account {line['holder']} already has row {line['held_row']}."
    return "The row has no account, and neither logs nor earlier snapshots say why."


def _further(tell: Callable[[Line], str]) -> Callable[[Line], str]:
    """Tell first of the account that already has another row, which is why this one stands alone."""
    return lambda line: _unknown(line) if line["holder"] is not None else tell(line)


_CAUSES: dict[str, Callable[[Line], str]] = {
    "row_deleted": _row_deleted,
    "trigger_error": _failed,
    "trigger_timeout": lambda line: _ran(line, "timed out"),
    "trigger_out_of_memory": lambda line: _ran(line, "ran out of memory"),
    "trigger_exit": lambda line: _ran(line, "exited before it answered"),
    "trigger_incomplete": lambda line: _ran(line, "never finished as far as the log shows"),
    "api_key_expired": _expired,
    "silent_failure": _finished,
    "admin_created": lambda line: "An administrator created the account; no run of the trigger was seen.",
    "imported": lambda line: "The account was imported; no run of the trigger was seen.",
    "federated": lambda line: "The account came from an identity provider; no run of the trigger was seen.",
    "trigger_init_error": _init_error,
    "not_invoked": lambda line: "The log covers the account's creation and shows no run of the trigger for it.",
    "logs_unavailable": lambda line: "No row was found; the log that was read does not cover the account's creation.",
    "account_deleted": _account_deleted,
    "late_write": _further(_late),
    "repeat_sign_up": _further(_repeated),
    "sign_up_rejected": _rejected,
    "unknown": _unknown,
}


def _at(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _requests(line: Line) -> str:
    names = ", ".join(request_id[:8] for request_id in line["request_ids"])
    return f" ({names})" if names else ""


def _took(line: Line) -> str:
    return "" if line["duration_ms"] is None else f" in {line['duration_ms']:.0f} ms"


def _short(text: str) -> str:
    first = text.split("\n", 1)[0].strip().rstrip(".")
    return first if len(first) <= 120 else f"{first[:119]}…"


def _span(span: timedelta) -> str:
    """Return a length of time in its largest whole unit, such as ``3 h``."""
    for name, seconds in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if span.total_seconds() >= seconds:
            return f"{span.total_seconds() // seconds:.0f} {name}"
    return f"{span.total_seconds():.0f} s"

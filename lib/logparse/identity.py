"""Whose sign-up an invocation was: the Cognito event as handlers log it, and what else names the user.

A log line may hold a user's own words, so each source has a trust: the better one wins, then the earlier.
"""

import json
from typing import Any, NamedTuple

import orjson

from lib.logparse import decode

EVENT_PREFIX = "debug cognito EVENT: "
VARIABLES_PREFIX = "#### debug variables: "

_SECRET = ("clientMetadata", "validationData", "password")  # UserMigration carries the password
_MAX_DEPTH = 4


class Who(NamedTuple):
    """What a line tells of a sign-up; ``event`` is the Cognito event without secrets, as JSON."""

    username: str | None = None
    trigger_source: str | None = None
    email: str | None = None
    event: str | None = None
    truncated: bool = False


NOBODY = Who()


def logged_event(text: str) -> Who:
    """Return what the article's event line tells; of a cut one only what stands before the user's own attributes."""
    event = decode.loads(text)
    if isinstance(event, dict):
        return _who(event)
    event = decode.first_value(text)
    if isinstance(event, dict):
        return _who(event)
    fields = decode.first_fields(text, stop="request")
    return Who(_text(fields.get("userName")), _text(fields.get("triggerSource")), truncated=bool(fields))


def logged_variables(text: str) -> Who:
    """Return what the article's variables line tells: the id that it writes is the user's name."""
    variables = decode.inspected(text).get("input")
    if not isinstance(variables, dict):
        return NOBODY
    return Who(_text(variables.get("id")), None, _text(variables.get("email")))


def mentions(body: Any) -> bool:
    """Return whether a line could name a user: cheap, to be asked of every line."""
    return '"userName"' in body or "userPoolId" in body if isinstance(body, str) else True


def named(body: Any, *, own: bool) -> tuple[int, Who] | None:
    """Return who any other line names, after its rank of trust; ``own`` when it bears the request's id.

    2 is the event as the whole of such a line, 3 a summary of it (``userName`` and ``triggerSource``), 4 an event
    somewhere in the line; lines without the id rank behind all those, and all behind the article's own two lines.
    """
    whole = body if isinstance(body, dict) else _whole(body)
    event = _find(whole, 0)
    if event is not None:
        return (2 if own else 5), _who(event)
    if own and isinstance(whole, dict):
        summary = _summary(whole)
        if summary:
            return 3, summary
    text = body.get("message") if isinstance(body, dict) else body
    if isinstance(text, str):
        return _within(text, own)
    return None


def best(found: list[tuple[int, Who]]) -> Who:
    """Return the most trusted of what lines tell, completed by what others tell of the same user."""
    ordered = [who for _, who in sorted(found, key=lambda ranked: ranked[0])]
    if not ordered:
        return NOBODY
    first = ordered[0]
    for other in ordered[1:]:
        if first.username is None or other.username == first.username:
            first = _completed(first, other)
    return first


def _completed(who: Who, other: Who) -> Who:
    return Who(
        who.username or other.username,
        who.trigger_source or other.trigger_source,
        # An event that is whole and has no e-mail says that there is none.
        who.email if who.event else who.email or other.email,
        who.event or other.event,
        who.truncated,
    )


def _within(text: str, own: bool) -> tuple[int, Who] | None:
    if "userPoolId" not in text:
        return None
    for value in decode.objects(text, before="userPoolId"):
        event = _find(value, 0)
        if event is not None:
            return (4 if own else 6), _who(event)
    return None


def _whole(text: str) -> Any:
    return decode.loads(text) if text.startswith("{") else None


def _find(value: Any, depth: int) -> dict[str, Any] | None:
    """Return the outermost Cognito event inside a value."""
    if depth > _MAX_DEPTH or not isinstance(value, dict | list):
        return None
    if isinstance(value, dict) and all(isinstance(value.get(key), str) for key in _EVENT_KEYS):
        return value
    for inner in value.values() if isinstance(value, dict) else value:
        event = _find(inner, depth + 1)
        if event is not None:
            return event
    return None


_EVENT_KEYS = ("userPoolId", "userName", "triggerSource")


def _summary(record: dict[str, Any]) -> Who | None:
    message = record.get("message")
    inner = _whole(message) if isinstance(message, str) else message
    for fields in (inner, record):
        if isinstance(fields, dict) and isinstance(fields.get("userName"), str):
            source = _text(fields.get("triggerSource"))
            return Who(fields["userName"], source, _text(fields.get("email"))) if source else None
    return None


def _who(event: dict[str, Any]) -> Who:
    request = event.get("request")
    attributes = request.get("userAttributes") if isinstance(request, dict) else None
    email = attributes.get("email") if isinstance(attributes, dict) else None
    return Who(
        _text(event.get("userName")),
        _text(event.get("triggerSource")),
        _text(email),
        _dumps(_without_secrets(event, request)),
    )


def _without_secrets(event: dict[str, Any], request: object) -> dict[str, Any]:
    """Return the event; of what a client sent along only the keys."""
    if not isinstance(request, dict):
        return event
    secret = [key for key in _SECRET if request.get(key) is not None]
    return event | {"request": request | {key: _keys(request[key]) for key in secret}} if secret else event


def _keys(value: object) -> dict[str, None] | None:
    return dict.fromkeys(value) if isinstance(value, dict) else None


def _dumps(value: object) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # a lone surrogate
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None

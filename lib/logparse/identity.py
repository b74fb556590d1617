"""Whose sign-up an invocation was: the Cognito event as handlers log it, and what else names the user.

A log line may hold a user's own words, so each source has a trust: the better one wins, then the earlier.
"""

from typing import Any, NamedTuple

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
    event = decode.strict(text)
    if isinstance(event, dict):
        return _who(event, as_logged=text.rstrip())
    event = decode.first_value(text)
    if isinstance(event, dict):
        return _who(event)
    fields = decode.first_fields(text, stop="request")
    truncated = text[:2] in ("", "{", '{"')
    return Who(_text(fields.get("userName")), _text(fields.get("triggerSource")), truncated=truncated)


def logged_variables(text: str) -> Who:
    """Return what the article's variables line tells: the id that it writes is the user's name."""
    variables = decode.inspected(text).get("input")
    if not isinstance(variables, dict):
        return NOBODY
    return Who(_text(variables.get("id")), None, _text(variables.get("email")))


def named(body: Any, *, own: bool) -> list[tuple[int, Who]]:
    """Return who any other line names, if it does, after its rank of trust; ``own`` when it bears the request's id.

    2 is the event as the whole of such a line, 3 a summary of it (``userName`` and ``triggerSource``), 4 an event
    somewhere in the line; lines without the id rank behind all those, and all behind the article's own two lines.
    """
    if isinstance(body, str) and '"userName"' not in body and "userPoolId" not in body:
        return []
    whole = body if isinstance(body, dict) else _whole(body)
    event = _find(whole, 0)
    if event is not None:
        return [(2 if own else 5, _who(event))]
    summary = _summary(whole) if own and isinstance(whole, dict) else None
    if summary:
        return [(3, summary)]
    text = body.get("message") if isinstance(body, dict) else body
    event = _within(text) if isinstance(text, str) and "userPoolId" in text else None
    return [(4 if own else 6, _who(event))] if event is not None else []


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


def _within(text: str) -> dict[str, Any] | None:
    found = (_find(value, 0) for value in decode.objects(text, before="userPoolId"))
    return next((event for event in found if event is not None), None)


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


def _who(event: dict[str, Any], as_logged: str | None = None) -> Who:
    request = event.get("request")
    email = None
    if isinstance(request, dict):
        attributes = request.get("userAttributes")
        email = attributes.get("email") if isinstance(attributes, dict) else None
        secret = [key for key in _SECRET if request.get(key) is not None]
        if secret:
            event = event | {"request": request | {key: _keys(request[key]) for key in secret}}
            as_logged = None
    username, source = _text(event.get("userName")), _text(event.get("triggerSource"))
    return Who(username, source, _text(email), as_logged or decode.dumps(event))


def _keys(value: object) -> dict[str, None] | None:
    """Return of what a client sent along only the keys."""
    return dict.fromkeys(value) if isinstance(value, dict) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None

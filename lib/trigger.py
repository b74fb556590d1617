"""The Cognito trigger that gives every sign-up its row: `createUser` over AppSync, and no failure kept to itself.

One file for a Python Lambda (handler `trigger.handler`, Python 3.11 to 3.14), for PreSignUp or PostConfirmation.
Environment variables, most of them as Amplify sets them:

* `API_<NAME>_GRAPHQLAPIENDPOINTOUTPUT`: the API; exactly one.
* `API_<NAME>_GRAPHQLAPIKEYOUTPUT`: its API key; without one, calls are signed with the function's role.
* `REGION` or `AWS_REGION`: the region to sign for.
* `ON_FAILURE`: `log` (default) lets the sign-up go on without a row, `raise` refuses it.

Every log line is one JSON object. A failure is a line of level ERROR that says why there is no row.
"""

import functools
import http.client
import json
import os
import random
import re
import socket
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO
from urllib.parse import SplitResult, urlsplit

BUDGET_S = 4.0
"""Cognito waits 5 s for an answer and then tries again: an answer after that is a second invocation."""

RESERVE_S = 0.25
"""Left of the function's own time-out for the log line and the answer."""

ATTEMPTS = 4
PAUSE_S = 0.2
"""Before the second attempt; it doubles with each, and up to half of it is left out by chance."""

_ENDPOINT = re.compile(r"API_(.+)_GRAPHQLAPIENDPOINTOUTPUT")
_EXISTS = "DynamoDB:ConditionalCheckFailedException"
_TRANSIENT = (
    "DynamoDB:InternalServerError",
    "DynamoDB:ProvisionedThroughputExceededException",
    "DynamoDB:RequestLimitExceeded",
    "DynamoDB:ThrottlingException",
    "DynamoDB:TransactionConflictException",
)
_CREATE = "mutation CreateUser($input: CreateUserInput!) { createUser(input: $input) { id email } }"
_LOOK = "query GetUser($id: ID!) { getUser(id: $id) { id email _deleted } }"
# A response of createUser is a few hundred bytes: more is not AppSync's.
_LONGEST_ANSWER = 1 << 20
# Real keys have 30 characters; blotting out a short test value would damage the line instead.
_SHORTEST_KEY = 16

Event = dict[str, Any]
Log = Callable[..., None]


class SignUpRefused(Exception):
    """Refuses the sign-up. Its message reaches the person who signs up, so it gives no reason away."""


class NoRow(Exception):
    """Why the sign-up has no row; the message begins a sentence after "Error: " and holds no secret."""

    def __init__(self, reason: str, error_type: str, *, transient: bool = False) -> None:
        super().__init__(reason)
        self.error_type = error_type
        self.transient = transient


def handler(event: Event, context: Any) -> Event:
    """Answer one invocation of Lambda: the event as it came, or `SignUpRefused`."""
    return sync(event, context, os.environ, sys.stdout)


def sync(event: Event, context: Any, environ: Mapping[str, str], out: TextIO) -> Event:
    """Create the row of the event's user, log to ``out``, and return the event unchanged.

    Raises `SignUpRefused` where there is no row and `ON_FAILURE` is `raise`.
    """
    deadline = time.monotonic() + min(BUDGET_S, context.get_remaining_time_in_millis() / 1000 - RESERVE_S)
    log = _logger(out, str(context.aws_request_id), _secrets(environ))
    log("INFO", "event received", event=_identity(event))
    if not _wants_row(event):
        log("INFO", "not a sign-up: nothing to do")
        return event
    refuse = environ.get("ON_FAILURE", "log").strip().lower() == "raise"
    try:
        _ensure_row(event, Api.of(environ, deadline), log)
    except NoRow as failure:
        consequence = "refused" if refuse else "goes on without a row"
        log("ERROR", f"Error: no row for this sign-up: {failure}", errorType=failure.error_type, signUp=consequence)
        if refuse:
            raise SignUpRefused("The sign-up could not be completed. Please try again.") from None
    return event


def _wants_row(event: Event) -> bool:
    source = str(event.get("triggerSource"))
    return source.startswith("PreSignUp_") or source == "PostConfirmation_ConfirmSignUp"


def _ensure_row(event: Event, api: "Api", log: Log) -> None:
    wanted = {"id": event.get("userName"), "email": _attributes(event).get("email")}
    if not wanted["id"]:
        raise NoRow("the event names no user", "MalformedEvent")
    try:
        row = api.execute(_CREATE, {"input": {name: value for name, value in wanted.items() if value}}, "createUser")
    except NoRow as refusal:
        if refusal.error_type != _EXISTS:
            raise
        _accept_existing(wanted, api, log)
    else:
        if not isinstance(row, dict) or row.get("id") != wanted["id"]:
            raise NoRow("AppSync answered without an error and without the row", "NoRowReturned")
        log("INFO", "row created")


def _accept_existing(wanted: Mapping[str, Any], api: "Api", log: Log) -> None:
    """Take a row that is already there for success, unless it is a tombstone."""
    try:
        row = api.execute(_LOOK, {"id": wanted["id"]}, "getUser")
    except NoRow as failure:
        # Most often the table has no versions, so the schema no `_deleted`, and every row is a live one.
        log("INFO", "row exists; it could not be looked at", reason=str(failure))
        return
    if not isinstance(row, dict):
        log("INFO", "row exists; it could not be looked at", reason="getUser gave none")
    elif row.get("_deleted"):
        raise NoRow("a soft-deleted row holds this id, so no new one can be created", "RowSoftDeleted")
    elif _email_key(row.get("email")) != _email_key(wanted["email"]):
        log("WARN", "row exists with another e-mail")
    else:
        log("INFO", "row exists")


def _email_key(email: object) -> str:
    return str(email or "").strip().lower()


@dataclass(frozen=True)
class Api:
    """One GraphQL API, for the one invocation that has until ``deadline`` (monotonic seconds)."""

    url: SplitResult
    key: str
    region: str
    deadline: float

    @staticmethod
    def of(environ: Mapping[str, str], deadline: float) -> "Api":
        """Return the API that the environment names; raises `NoRow` unless it is exactly one."""
        names = [found[1] for name in environ if (found := _ENDPOINT.fullmatch(name)) and environ[name]]
        if len(names) != 1:
            raise NoRow(f"the environment names {len(names)} GraphQL APIs, not one", "Configuration")
        key = environ.get(f"API_{names[0]}_GRAPHQLAPIKEYOUTPUT", "").strip()
        if not (key.isascii() and key.isprintable()):
            raise NoRow("the API key holds characters that no API key has", "Configuration")
        region = environ.get("REGION") or environ.get("AWS_REGION") or ""
        return Api(_address(environ[f"API_{names[0]}_GRAPHQLAPIENDPOINTOUTPUT"]), key, region, deadline)

    def execute(self, query: str, variables: Mapping[str, Any], field: str) -> Any:
        """Return what the root field gave; raises `NoRow`. Transient failures are tried again while there is time."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        attempt = 0
        while True:
            try:
                return _field(*self._post(body), field)
            except NoRow as failure:
                pause = PAUSE_S * 2**attempt * random.uniform(0.5, 1)  # noqa: S311 (spreads retries, hides nothing)
                attempt += 1
                if not failure.transient or attempt == ATTEMPTS or self._left() <= pause:
                    raise
            time.sleep(pause)

    def _post(self, body: bytes) -> tuple[int, bytes]:
        headers = {"x-api-key": self.key} if self.key else self._signature(body)
        try:
            with self._connect() as wire:
                return self._exchange(wire, body, headers | {"Content-Type": "application/json"})
        except TimeoutError:
            raise NoRow("AppSync did not answer in time", "Timeout", transient=True) from None
        except (OSError, http.client.HTTPException) as error:
            reason = f"AppSync could not be reached: {type(error).__name__}: {error}"
            raise NoRow(reason, type(error).__name__, transient=True) from None

    def _connect(self) -> socket.socket:
        host, port = str(self.url.hostname), self.url.port or (443 if self.url.scheme == "https" else 80)
        # One address after the other under one deadline: create_connection gives each the whole time-out.
        refused: OSError = OSError("the name has no address")
        for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            try:
                wire = socket.create_connection((str(address[0]), port), self._time())
            except OSError as error:
                refused = error
                continue
            return _tls().wrap_socket(wire, server_hostname=host) if self.url.scheme == "https" else wire
        raise refused

    def _exchange(self, wire: socket.socket, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.url.netloc)
        connection.sock = wire
        # A socket's time-out is per read, the deadline is for all of them.
        wire.settimeout(self._time())
        connection.request("POST", self._path(), body, headers)
        response = connection.getresponse()
        answer = b""
        while not response.isclosed() and len(answer) < _LONGEST_ANSWER:
            wire.settimeout(self._time())
            part = response.read1(65536)
            if not part:
                break
            answer += part
        if response.length:
            raise http.client.IncompleteRead(answer, response.length)
        return response.status, answer

    def _path(self) -> str:
        return (self.url.path or "/") + (f"?{self.url.query}" if self.url.query else "")

    def _left(self) -> float:
        return self.deadline - time.monotonic()

    def _time(self) -> float:
        left = self._left()
        if left <= 0:
            raise TimeoutError
        return left

    def _signature(self, body: bytes) -> dict[str, str]:
        # Only calls without an API key need botocore, and it takes a good part of a cold start to import.
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session

        try:
            credentials = Session().get_credentials()
        except BotoCoreError as error:
            raise NoRow(f"the role's credentials cannot be read: {error}", type(error).__name__) from None
        if credentials is None or not self.region:
            raise NoRow("there is no API key, and no role or region to sign the call with", "Configuration")
        request = AWSRequest("POST", self.url.geturl(), {"Content-Type": "application/json"}, body)
        SigV4Auth(credentials.get_frozen_credentials(), "appsync", self.region).add_auth(request)
        return dict(request.headers.items())


def _address(text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        known = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:
        known = None
    if not known:
        raise NoRow("the GraphQL endpoint is not an http(s) address", "Configuration")
    return url


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _field(status: int, answer: bytes, field: str) -> Any:
    """Return the root field of an answer: neither HTTP 200 nor the absence of errors alone says that it is there."""
    try:
        body = json.loads(answer)
    except (ValueError, RecursionError):
        body = None
    known = body if isinstance(body, dict) else {}
    listed = known.get("errors")
    errors = [error for error in listed if isinstance(error, dict)] if isinstance(listed, list) else []
    error_type = str(errors[0].get("errorType") or "GraphQLError") if errors else ""
    said = f" {error_type}: {str(errors[0].get('message'))[:300]}" if errors else ""
    if status != 200:
        transient = status == 429 or status >= 500
        raise NoRow(f"AppSync answered HTTP {status}{said}", error_type or f"Http{status}", transient=transient)
    if not isinstance(body, dict):
        raise NoRow("AppSync answered HTTP 200 with something that is not GraphQL", "NotGraphQL")
    data = known.get("data")
    found = data.get(field) if isinstance(data, dict) else None
    if found is None and errors:
        raise NoRow(f"AppSync refused {field}:{said}", error_type, transient=error_type in _TRANSIENT)
    return found


def _attributes(event: Event) -> dict[str, Any]:
    request = event.get("request")
    attributes = request.get("userAttributes") if isinstance(request, dict) else None
    return attributes if isinstance(attributes, dict) else {}


def _identity(event: Event) -> Event:
    """Return what a log reader needs of the event; other attributes, client metadata and validation data stay out."""
    kept = ("version", "triggerSource", "region", "userPoolId", "userName", "callerContext")
    attributes = {name: value for name, value in _attributes(event).items() if name in ("sub", "email")}
    return {name: event[name] for name in kept if name in event} | {"request": {"userAttributes": attributes}}


def _secrets(environ: Mapping[str, str]) -> list[str]:
    values = [value.strip() for name, value in environ.items() if name.endswith("_GRAPHQLAPIKEYOUTPUT")]
    return [value for value in values if len(value) >= _SHORTEST_KEY]


def _logger(out: TextIO, request_id: str, secrets: list[str]) -> Log:
    """Return the function that writes one line, in the form of Lambda's JSON log format whatever format is set."""

    def log(level: str, message: str, **fields: Any) -> None:
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"timestamp": moment, "level": level, "requestId": request_id, "message": message} | fields)
        for secret in secrets:
            line = line.replace(secret, "***")
        # One write: a line that is written in two may arrive as two log events.
        out.write(line + "\n")
        out.flush()

    return log

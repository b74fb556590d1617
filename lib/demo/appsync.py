"""The small GraphQL service that AppSync is to this product: one API, one model, and the calls that describe it.

It answers as AppSync does where Pooltable and the trigger can tell: refusals, conflicts, expiring API keys. moto has
no GraphQL and no data sources, and answers other control calls with invented values.
"""

import json
import re
import secrets
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast

from graphql import (
    ExecutionResult,
    GraphQLError,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLSyntaxError,
    graphql_sync,
)
from werkzeug.wrappers import Request, Response

from lib.demo.user_model import FIELDS, Info, ResolverError, UserModel

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_ACCOUNT = "123456789012"  # moto's own
_KEY_LISTED = timedelta(days=60)  # an expired key stays in ListApiKeys for so long
_KEY_LIFE = (timedelta(days=1), timedelta(days=365))
_UNAUTHORIZED = "You are not authorized to make this call."
_HTML_500 = "<html><head><title>500 Internal Server Error</title></head><body><h1>500</h1></body></html>"


@dataclass(frozen=True)
class ApiKey:
    """An API key; it is its own id, as AppSync's are."""

    key: str = field(repr=False)
    expires: datetime
    description: str = ""


@dataclass(frozen=True)
class Fault:
    """What befalls the next GraphQL calls.

    `server_error` answers 500 in HTML and `throttled` 429, nothing done; `delay` waits ``seconds``, then does and
    answers; `reset` drops the connection, nothing done; `answer_lost` does it, then drops the connection.
    """

    kind: Literal["server_error", "throttled", "delay", "reset", "answer_lost"]
    calls: int = 1
    seconds: float = 0


class AppSync:
    """One GraphQL API over one table, as a WSGI application that another one on the same port may wrap."""

    def __init__(
        self,
        *,
        table: str,
        dynamodb_client: Any,
        api_id: str,
        region: str,
        versioned: bool = True,
        conflict_handler: str = "AUTOMERGE",
    ) -> None:
        self.model = UserModel(
            table=table, dynamodb_client=dynamodb_client, versioned=versioned, conflict_handler=conflict_handler
        )
        self.api_id = api_id
        self.region = region
        self.url = ""
        self.keys: dict[str, ApiKey] = {}
        self.fault: Fault | None = None
        self.iam_refused = False
        self._schema = self.model.schema()
        self._lock = threading.Lock()
        api = f"/v1/apis/{re.escape(api_id)}"
        self._routes: tuple[tuple[str, re.Pattern[str], Callable[..., Response]], ...] = (
            ("POST", re.compile(r"/graphql"), self._graphql),
            ("GET", re.compile(r"/v1/apis"), self._list_apis),
            ("GET", re.compile(api), self._get_api),
            ("GET", re.compile(f"{api}/apikeys"), self._list_keys),
            ("POST", re.compile(f"{api}/apikeys/([^/]+)"), self._update_key),
            ("GET", re.compile(f"{api}/datasources"), self._list_data_sources),
            ("GET", re.compile(f"{api}/types/([^/]+)/resolvers"), self._list_resolvers),
        )

    def add_key(self, expires: datetime, description: str = "") -> ApiKey:
        """Add and return a new key that is accepted until ``expires``, which may be past."""
        api_key = ApiKey(f"da2-{secrets.token_hex(13)}", expires, description)
        self.keys[api_key.key] = api_key
        return api_key

    def matches(self, path: str) -> bool:
        """Tell whether it answers this path; every other one is another service's."""
        return any(pattern.fullmatch(path) for _, pattern, _ in self._routes)

    def wsgi_app(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer one request."""
        request = Request(environ)
        response = self._answer(request)
        response.headers["x-amzn-RequestId"] = str(uuid.uuid4())
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        for method, pattern, answer in self._routes:
            found = pattern.fullmatch(request.path)
            if found and method == request.method:
                return answer(request, *found.groups())
        return _refused("NotFoundException", f"No such resource: {request.method} {request.path}", 404)

    # The data plane

    def _graphql(self, request: Request) -> Response:
        body = request.get_data()
        fault = self._next_fault()
        if fault.kind == "server_error":
            return Response(_HTML_500, 500, mimetype="text/html")
        if fault.kind == "throttled":
            return _errors(429, "TooManyRequestsException", "Rate exceeded")
        if fault.kind == "reset":
            _drop(request)
        time.sleep(fault.seconds)
        response = self._execute(request, body)
        if fault.kind == "answer_lost":
            _drop(request)
        return response

    def _next_fault(self) -> Fault:
        with self._lock:
            fault = self.fault or Fault("delay", calls=0)
            self.fault = replace(fault, calls=fault.calls - 1) if fault.calls > 1 else None
            return fault

    def _execute(self, request: Request, body: bytes) -> Response:
        by_key = "x-api-key" in request.headers
        if not (self._key_accepted(request) if by_key else self._signed(request)):
            return _errors(401, "UnauthorizedException", _UNAUTHORIZED)
        try:
            call = json.loads(body)
            query, variables, operation = str(call["query"]), call.get("variables"), call.get("operationName")
        except (ValueError, TypeError, KeyError, AttributeError):
            return _errors(400, "MalformedHttpRequestException", "Unable to parse GraphQL query.")
        resolvers = _refusing() if self.iam_refused and not by_key else self.model.resolvers()
        result = graphql_sync(self._schema, query, resolvers, variable_values=variables, operation_name=operation)
        if any(isinstance(error, GraphQLSyntaxError) for error in result.errors or ()):
            return _errors(400, "MalformedHttpRequestException", "Unable to parse GraphQL query.")
        return _json(_body(result, self._schema))

    def _key_accepted(self, request: Request) -> bool:
        api_key = self.keys.get(request.headers["x-api-key"])
        return api_key is not None and api_key.expires > self.model.clock()

    def _signed(self, request: Request) -> bool:
        scope = f"/{self.region}/appsync/aws4_request"
        authorization = request.headers.get("Authorization", "")
        return authorization.startswith("AWS4-HMAC-SHA256 ") and scope in authorization

    # The control plane, as far as discovery asks for it

    def _arn(self, *parts: str) -> str:
        return "/".join((f"arn:aws:appsync:{self.region}:{_ACCOUNT}:apis/{self.api_id}", *parts))

    def _api(self) -> dict[str, Any]:
        return {
            "apiId": self.api_id,
            "name": self.model.table,
            "arn": self._arn(),
            "authenticationType": "API_KEY",
            "additionalAuthenticationProviders": [{"authenticationType": "AWS_IAM"}],
            "uris": {"GRAPHQL": self.url},
        }

    def _get_api(self, _request: Request) -> Response:
        return _json({"graphqlApi": self._api()})

    def _list_apis(self, _request: Request) -> Response:
        return _json({"graphqlApis": [self._api()]})

    def _list_keys(self, _request: Request) -> Response:
        listed = [key for key in self.keys.values() if key.expires + _KEY_LISTED > self.model.clock()]
        return _json({"apiKeys": [_described(key) for key in listed]})

    def _update_key(self, request: Request, key_id: str) -> Response:
        wanted = json.loads(request.get_data() or b"{}")
        before = self.keys.get(key_id)
        if before is None:
            return _refused("NotFoundException", "API key not found.", 404)
        after = replace(before, description=wanted.get("description", before.description))
        if "expires" in wanted:
            expires = datetime.fromtimestamp(wanted["expires"], UTC)
            if not _KEY_LIFE[0] <= expires - self.model.clock() <= _KEY_LIFE[1]:
                return _refused("ApiKeyValidityOutOfBoundsException", "An API key is valid for 1 to 365 days.", 400)
            # AppSync keeps the hour only.
            after = replace(after, expires=expires.replace(minute=0, second=0, microsecond=0))
        self.keys[key_id] = after
        return _json({"apiKey": _described(after)})

    def _list_data_sources(self, _request: Request) -> Response:
        table: dict[str, Any] = {"tableName": self.model.table, "awsRegion": self.region}
        if self.model.versioned:
            delta = {"baseTableTTL": 43200, "deltaSyncTableName": "AmplifyDataStore", "deltaSyncTableTTL": 30}
            table |= {"versioned": True, "deltaSyncConfig": delta}
        source = {"name": "UserTable", "type": "AMAZON_DYNAMODB", "dynamodbConfig": table}
        return _json({"dataSources": [source | {"dataSourceArn": self._arn("datasources", "UserTable")}]})

    def _list_resolvers(self, _request: Request, type_name: str) -> Response:
        sync: dict[str, Any] = {}
        if self.model.versioned:
            sync = {"syncConfig": {"conflictDetection": "VERSION", "conflictHandler": self.model.conflict_handler}}
        resolvers = [
            {"typeName": type_name, "fieldName": name, "dataSourceName": "UserTable", "kind": "UNIT"}
            | {"resolverArn": self._arn("types", type_name, "resolvers", name)}
            | sync
            for name in FIELDS.get(type_name, ())
        ]
        return _json({"resolvers": resolvers})


def _drop(request: Request) -> NoReturn:
    """Close the connection without an answer; the server takes the error for the client's leaving."""
    request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError


def _described(api_key: ApiKey) -> dict[str, Any]:
    return {
        "id": api_key.key,
        "description": api_key.description,
        "expires": int(api_key.expires.timestamp()),
        "deletes": int((api_key.expires + _KEY_LISTED).timestamp()),
    }


def _refusing() -> dict[str, Callable[..., Any]]:
    """Return resolvers that refuse as `@auth` does a role that is not in custom-roles.json."""

    def refuse(info: Info, **_arguments: Any) -> None:
        raise ResolverError("Unauthorized", f"Not Authorized to access {info.field_name} on type User")

    return {name: refuse for names in FIELDS.values() for name in names}


def _body(result: ExecutionResult, schema: GraphQLSchema) -> dict[str, Any]:
    errors = {"errors": [_error(error, schema) for error in result.errors]} if result.errors else {}
    return {"data": result.data} | errors


def _error(error: GraphQLError, schema: GraphQLSchema) -> dict[str, Any]:
    places = [{"line": at.line, "column": at.column, "sourceName": None} for at in error.locations or ()]
    refusal = error.original_error
    if not isinstance(refusal, ResolverError):
        return {"path": error.path, "locations": places or None, "message": _in_appsyncs_words(error, schema)}
    return {
        "path": error.path,
        "data": refusal.row,
        "errorType": refusal.error_type,
        "errorInfo": None,
        "locations": places,
        "message": str(refusal),
    }


def _in_appsyncs_words(error: GraphQLError, schema: GraphQLSchema) -> str:
    if found := re.search(r"Cannot query field '(\w+)' on type '(\w+)'", error.message):
        name, parent = found.groups()
        return f"Validation error of type FieldUndefined: Field '{name}' in type '{parent}' is undefined @ '{name}'"
    if found := re.search(r"value of type '(\w+)' not to include unknown field '(\w+)'", error.message):
        wanted, name = found.groups()
        return (
            f"The variables input contains a field name '{name}' that is not defined for input object type '{wanted}' "
        )
    if found := re.search(r"Cannot return null for non-nullable field (\w+)\.(\w+)", error.message):
        parent, name = found.groups()
        declared = str(cast(GraphQLObjectType, schema.type_map[parent]).fields[name].type).rstrip("!")
        path = "".join(f"/{step}" for step in error.path or ())
        return f"Cannot return null for non-nullable type: '{declared}' within parent '{parent}' ({path})"
    return error.message


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(body), status, content_type="application/json;charset=UTF-8")


def _errors(status: int, error_type: str, message: str) -> Response:
    response = _json({"errors": [{"errorType": error_type, "message": message}]}, status)
    response.headers["x-amzn-ErrorType"] = error_type
    return response


def _refused(code: str, message: str, status: int) -> Response:
    response = _json({"message": message}, status)
    response.headers["x-amzn-ErrorType"] = code
    return response

"""The AppSync API, called by hand: botocore knows its control plane only."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from lib.aws.errors import quoted
from lib.aws.session import Aws
from lib.config import is_loopback
from lib.model import AwsError, CredentialsError

ACTION = "appsync:GraphQL"
FIELDS = ("id", "email", "createdAt", "updatedAt")
VERSION_FIELDS = ("_version", "_lastChangedAt", "_deleted")

# Refused before anything was written; any other error of a mutation may come from after the write.
_NOT_DONE = {
    "DynamoDB:ConditionalCheckFailedException",
    "ConditionalCheckFailedException",
    "ConflictUnhandled",
    "Unauthorized",
    "UnauthorizedException",
    "ValidationError",
    "BadRequestException",
    "MalformedHttpRequestException",
}
_HOST_REGION = re.compile(r"\.appsync-api\.([\w-]+)\.")


class Written(NamedTuple):
    """What a mutation answered: the record as it is now, and AWS's request id (empty where there is none)."""

    record: dict[str, Any]
    request_id: str


class Api:
    """The GraphQL API of the app, with an API key, else signed with the caller's credentials.

    ``fields`` are selected in every answer, with the version fields where ``versioned``: a client of DataStore
    takes an update only from a mutation that selected them all.
    """

    def __init__(
        self, aws: Aws, url: str, key: str | None, *, fields: Sequence[str] = FIELDS, versioned: bool = False
    ) -> None:
        self.url = url
        self._aws = aws
        self._key = key
        self._selection = " ".join(dict.fromkeys([*fields, *(VERSION_FIELDS if versioned else ())]))
        proxies = {} if is_loopback(url) else get_environ_proxies(url)
        # This session never retries: only reading back can tell what became of a mutation without an answer.
        self._http = URLLib3Session(timeout=(3, 10), proxies=proxies)

    def execute(self, query: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the answer's data; raise ``AwsError`` whatever the HTTP status when it holds an error.

        ``code`` is AppSync's errorType. A refused key or signature is a ``CredentialsError``.
        """
        return self._answered(query, variables or {})[0]

    def create(self, row: Mapping[str, Any]) -> Written:
        """Create a User; an id that exists is refused (a ConditionalCheckFailedException)."""
        return self._mutate("createUser", "CreateUserInput", row, None)

    def get(self, id: str) -> dict[str, Any] | None:
        """Return the record of one User, a soft-deleted one too, or None."""
        data = self.execute(f"query GetUser($id: ID!) {{ getUser(id: $id) {{ {self._selection} }} }}", {"id": id})
        found: dict[str, Any] | None = data.get("getUser")
        return found

    def update(
        self, row: Mapping[str, Any], version: int | None = None, condition: Mapping[str, Any] | None = None
    ) -> Written:
        """Update the User named by ``row["id"]``.

        Under AUTOMERGE a stale ``version`` is merged without an error: pass the fields' old values as ``condition``
        (see ``holding``) and compare the returned record.
        """
        return self._mutate("updateUser", "UpdateUserInput", _versioned(row, version), condition)

    def delete(self, id: str, version: int | None = None, condition: Mapping[str, Any] | None = None) -> Written:
        """Delete a User; where the API is versioned it stays as a tombstone."""
        return self._mutate("deleteUser", "DeleteUserInput", _versioned({"id": id}, version), condition)

    def _mutate(self, field: str, kind: str, row: Mapping[str, Any], condition: Mapping[str, Any] | None) -> Written:
        name = field[0].upper() + field[1:]
        query = (
            f"mutation {name}($input: {kind}!, $condition: ModelUserConditionInput) "
            f"{{ {field}(input: $input, condition: $condition) {{ {self._selection} }} }}"
        )
        data, request_id = self._answered(query, {"input": dict(row), "condition": condition})
        record = data.get(field)
        if not isinstance(record, dict):
            raise AwsError(
                f"Cannot confirm {field} at {self._host}: it answered without an error and without the record. "
                "Read the row back.",
                action=ACTION,
                code="NoRecord",
                request_id=request_id,
                maybe_done=True,
            )
        return Written(record, request_id)

    def _answered(self, query: str, variables: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        writes = query.lstrip().startswith("mutation")
        request = self._request(json.dumps({"query": query, "variables": dict(variables)}))
        with self._aws.calling(f"call {self._host}", action="appsync:GraphQL"):
            response = self._http.send(request.prepare())
        try:
            answer = json.loads(response.content)
        except ValueError:
            answer = None
        request_id = str(response.headers.get("x-amzn-RequestId") or "")
        status = int(response.status_code)
        return self._checked(status, answer if isinstance(answer, dict) else {}, writes, request_id), request_id

    def _request(self, content: str) -> AWSRequest:
        headers = {"content-type": "application/json"}
        if self._key:
            headers["x-api-key"] = self._key
        request = AWSRequest("POST", self.url, headers=headers, data=content.encode())
        if not self._key:
            frozen = self._aws.credentials()
            region = _HOST_REGION.search(self._host)
            credentials = Credentials(frozen.access_key, frozen.secret_key, frozen.token)
            SigV4Auth(credentials, "appsync", region.group(1) if region else self._aws.region).add_auth(request)
        return request

    def _checked(self, status: int, answer: dict[str, Any], writes: bool, request_id: str) -> dict[str, Any]:
        errors = answer.get("errors")
        data = answer.get("data")
        if status == 200 and not errors and isinstance(data, dict):
            return data
        first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
        code = str(first.get("errorType") or (f"HTTP {status}" if status != 200 else "GraphQLError"))
        if status in (401, 403):
            reason = f"Cannot call {self._host}: {self._refusal(code)}."
            raise CredentialsError(reason, action=ACTION, code=code, request_id=request_id)
        # Without any data the query itself was refused; with some, the mutation was done and only a field of it failed.
        refused = first and (data is None or (code in _NOT_DONE and not any(data.values())))
        said = quoted(first.get("message") or "an answer that is no GraphQL, such as a proxy's page")
        raise AwsError(
            f"Cannot call {self._host}: {quoted(code)}: {said}. {_advice(code, status)}.",
            action=ACTION,
            code=code,
            request_id=request_id,
            # A 5xx may come from behind the write, whatever its body says.
            maybe_done=writes and not (400 <= status < 500 or (status == 200 and refused)),
        )

    def _refusal(self, code: str) -> str:
        if self._key:
            variable = re.sub(r"[^A-Z0-9]", "_", self._aws.settings.name.upper())
            return f"it refuses the API key ({quoted(code)}), which may have expired. Set POOLTABLE_{variable}_API_KEY"
        return (
            f"it refuses the signature ({quoted(code)}). Use an API key, name the role in Amplify's "
            'custom-roles.json, or set writer = "dynamodb"'
        )

    @property
    def _host(self) -> str:
        return urlsplit(self.url).netloc.rpartition("@")[2]


def holding(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mutation's `condition` that each field still has this value (None: is not there)."""
    return {
        "and": [
            {name: {"attributeExists": False} if value is None else {"eq": value}} for name, value in values.items()
        ]
    }


def _versioned(row: Mapping[str, Any], version: int | None) -> dict[str, Any]:
    return dict(row) if version is None else {**row, "_version": version}


def _advice(code: str, status: int) -> str:
    if "ConditionalCheckFailed" in code or code == "ConflictUnhandled":
        return "The row is not as it was when it was read: refresh, then plan again"
    if code == "Unauthorized":
        return (
            "The caller may not do this: use an API key that may, name the role in Amplify's custom-roles.json, "
            'or set writer = "dynamodb"'
        )
    if status == 429:
        return "Try again in a few minutes"
    if status >= 500 or status == 200:
        return "Read the row back before trying again"
    return "Check graphql_url"

"""The chain behind a pool: its trigger, the function, its API, the table and the log group.

Configuration comes first; what it leaves open is asked of AWS in a few cheap reads, each of which may be refused:
that costs a fact and gives a warning, never the rest.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from lib.aws import logs, pool, table
from lib.aws.checks import Check, probe
from lib.aws.session import SERVICES, Aws
from lib.model import AwsError, CredentialsError, NotReadable, Wiring, iso, now

__all__ = ["Check", "discover", "probe"]

Fact = TypeVar("Fact")

_TRIGGERS = {"pre_sign_up": "PreSignUp", "post_confirmation": "PostConfirmation"}
# Amplify names what it hands to a function API_<NAME>_<OUTPUT>.
_API_ID = re.compile(r"API_(.+)_GRAPHQLAPIIDOUTPUT")
_API_URL = re.compile(r"API_(.+)_GRAPHQLAPIENDPOINTOUTPUT")
_API_KEY = re.compile(r"API_(.+)_GRAPHQLAPIKEYOUTPUT")
_TABLE = re.compile(r"API_(.+)_USERTABLE_NAME")


def discover(aws: Aws) -> Wiring:
    """Return the chain as far as it is configured or can be found; what could not be asked is in ``warnings``."""
    finder = _Finder(aws)
    settings = aws.settings
    identity = finder.ask(aws.identity)
    functions = finder.functions()
    trigger, counting = finder.trigger(functions)
    api_id, graphql_url = finder.api(counting)
    sources = finder.data_sources(api_id)
    name = settings.table or finder.table(counting, sources)
    groups = settings.log_groups or tuple(dict.fromkeys(function.log_group for function in counting))
    facts = [found for group in groups if (found := finder.group(group))]
    retentions = [found.retention_days for found in facts if found.retention_days is not None]
    return Wiring(
        pool=settings.user_pool_id,
        region=aws.region,
        table=name,
        versioned=finder.versioned(name, sources),
        trigger=trigger,
        correlation=settings.correlation or "username",
        grace_minutes=settings.grace_minutes,
        log_groups=tuple(groups),
        functions=tuple(function.name for function in counting),
        retention_days=min(retentions, default=None),
        # Evidence of all groups together begins when the youngest of them began.
        group_created_at=max((found.created_at for found in facts), default=None),
        keys=finder.keys(api_id, counting),
        api_id=api_id,
        graphql_url=graphql_url,
        endpoints={service: aws.endpoint(service) for service in SERVICES},
        identity=identity,
        warnings=tuple(finder.warnings),
    )


@dataclass(frozen=True)
class _Function:
    kind: str
    name: str
    log_group: str
    variables: Mapping[str, str] | None = field(repr=False)  # holds the API key; None: could not be read

    def values(self, pattern: re.Pattern[str]) -> set[str]:
        return {value for name, value in (self.variables or {}).items() if pattern.fullmatch(name) and value}

    def names_the_rows(self, known_table: str | None) -> bool:
        """Return whether its environment names an API or the table, so that it can be what writes the rows."""
        named = any(self.values(pattern) for pattern in (_API_ID, _API_URL, _TABLE))
        return named or (known_table is not None and known_table in (self.variables or {}).values())


class _Finder:
    """Asks AWS one fact at a time and collects what could not be asked, or not be told apart, as warnings."""

    def __init__(self, aws: Aws) -> None:
        self.warnings: list[str] = []
        self._aws = aws
        self._settings = aws.settings
        self._signed_in = True

    def ask(self, read: Callable[[], Fact]) -> Fact | None:
        if not self._signed_in:
            return None
        try:
            return read()
        except CredentialsError as error:
            # Nothing else can be asked either: one sentence instead of eight.
            self._signed_in = False
            self.warnings.append(str(error))
        except (AwsError, NotReadable) as error:
            self.warnings.append(str(error))
        return None

    def functions(self) -> list[_Function]:
        """Return the functions that the pool calls at sign-up."""
        described = self.ask(lambda: pool.describe(self._aws))
        if described is None:
            return []
        attached = described.get("LambdaConfig") or {}
        found = [self._function(kind, attached[key]) for kind, key in _TRIGGERS.items() if attached.get(key)]
        if not found:
            self.warnings.append(
                f"Pool {self._settings.user_pool_id} has neither a PreSignUp nor a PostConfirmation trigger, so "
                "nothing creates rows. Attach the trigger, or set expects_row and log_group if rows come another way."
            )
        return found

    def trigger(self, functions: list[_Function]) -> tuple[str, list[_Function]]:
        """Return the kind of trigger that promises an account its row, and the functions that may be it."""
        expected = self._settings.expects_row
        if expected:
            return expected, [each for each in functions if each.kind == expected] or functions
        if len(functions) == 1:
            return functions[0].kind, functions
        naming = [each for each in functions if each.names_the_rows(self._settings.table)]
        if len(naming) == 1:
            return naming[0].kind, naming
        if functions:
            self.warnings.append(
                "Both a PreSignUp and a PostConfirmation trigger are attached and their environments do not tell which "
                "one creates the rows: taken to be PostConfirmation. Set expects_row."
            )
        return "post_confirmation", functions

    def api(self, functions: list[_Function]) -> tuple[str | None, str | None]:
        """Return the API's id and URL."""
        api_id = self._settings.api_id or self._only(functions, _API_ID, "API", "api_id")
        url = self._settings.graphql_url or self._only(functions, _API_URL, "API", "graphql_url")
        if api_id and not url:
            url = self.ask(lambda: _api_url(self._aws, api_id))
        return api_id, url

    def data_sources(self, api_id: str | None) -> dict[str, Mapping[str, Any]]:
        """Return the API's DynamoDB data sources by name."""
        listed = self.ask(lambda: _data_sources(self._aws, api_id)) if api_id else None
        return {source["name"]: source["dynamodbConfig"] for source in listed or () if "dynamodbConfig" in source}

    def table(self, functions: list[_Function], sources: Mapping[str, Mapping[str, Any]]) -> str | None:
        """Return the User table's name."""
        if "UserTable" in sources:
            return str(sources["UserTable"]["tableName"])
        by_name = [each["tableName"] for each in sources.values() if each["tableName"].startswith("User-")]
        found = by_name[0] if len(by_name) == 1 else self._only(functions, _TABLE, "User table", "table")
        if not found:
            self.warnings.append("The User table was not found. Set table.")
        return found

    def versioned(self, name: str | None, sources: Mapping[str, Mapping[str, Any]]) -> bool:
        """Return whether AppSync detects conflicts on the table, which is also checked here."""
        if not name:
            return False
        self.ask(lambda: table.describe(self._aws, name))
        for source in sources.values():
            if source["tableName"] == name:
                return bool(source.get("versioned") or source.get("deltaSyncConfig"))
        return bool(self.ask(lambda: table.shows_versions(self._aws, name)))

    def group(self, name: str) -> logs.GroupFacts | None:
        """Return a log group's facts."""
        known = len(self.warnings)
        found = self.ask(lambda: logs.group(self._aws, name))
        if found is None and self._signed_in and len(self.warnings) == known:
            self.warnings.append(f"The log group {name} does not exist: the trigger never ran, or log_group is wrong.")
        return found

    def keys(self, api_id: str | None, functions: list[_Function]) -> tuple[Mapping[str, str], ...]:
        """Return what is known of the API keys in the triggers' environments; of all keys where those are unknown."""
        used = {_digest(key) for function in functions for key in function.values(_API_KEY)}
        readable = bool(functions) and all(function.variables is not None for function in functions)
        if not api_id or (readable and not used):
            return ()
        listed = self.ask(lambda: _api_keys(self._aws, api_id)) or []
        facts = [
            {
                "digest": _digest(key["id"]),
                "expires_at": iso(datetime.fromtimestamp(key["expires"], UTC)),
                "seen_at": iso(now()),
            }
            for key in listed
            if key.get("expires")
        ]
        if used and listed and not any(fact["digest"] in used for fact in facts):
            self.warnings.append(
                f"The API key in the trigger's environment is none of API {api_id}: every sign-up may lose its row. "
                "Create a key and deploy the function with it."
            )
        return tuple(fact for fact in facts if not readable or fact["digest"] in used)

    def _function(self, kind: str, arn: str) -> _Function:
        # arn:aws:lambda:region:account:function:name, perhaps with :version
        name = arn.split(":")[6] if arn.count(":") >= 6 else arn
        described = self.ask(lambda: _function_configuration(self._aws, arn)) or {}
        environment = described.get("Environment") or {}
        if environment.get("Error"):
            self.warnings.append(f"The environment of function {name} cannot be decrypted by this role (KMS).")
        variables = environment.get("Variables", {}) if described and not environment.get("Error") else None
        group = (described.get("LoggingConfig") or {}).get("LogGroup") or f"/aws/lambda/{name}"
        return _Function(kind, name, group, variables)

    def _only(self, functions: Sequence[_Function], pattern: re.Pattern[str], what: str, key: str) -> str | None:
        values = {value for function in functions for value in function.values(pattern)}
        if len(values) > 1:
            self.warnings.append(f"The trigger's environment names more than one {what}. Set {key}.")
        return values.pop() if len(values) == 1 else None


def _function_configuration(aws: Aws, arn: str) -> dict[str, Any]:
    with aws.calling(f"read the configuration of function {arn}", action="lambda:GetFunctionConfiguration"):
        return dict(aws.client("lambda").get_function_configuration(FunctionName=arn))


def _api_url(aws: Aws, api_id: str) -> str | None:
    with aws.calling(f"describe API {api_id}", action="appsync:GetGraphqlApi"):
        uris: dict[str, str] = aws.client("appsync").get_graphql_api(apiId=api_id)["graphqlApi"].get("uris", {})
    return uris.get("GRAPHQL")


def _data_sources(aws: Aws, api_id: str) -> list[dict[str, Any]]:
    with aws.calling(f"list the data sources of API {api_id}", action="appsync:ListDataSources"):
        pages = aws.client("appsync").get_paginator("list_data_sources").paginate(apiId=api_id)
        return [source for page in pages for source in page["dataSources"]]


def _api_keys(aws: Aws, api_id: str) -> list[dict[str, Any]]:
    with aws.calling(f"list the keys of API {api_id}", action="appsync:ListApiKeys"):
        pages = aws.client("appsync").get_paginator("list_api_keys").paginate(apiId=api_id)
        return [key for page in pages for key in page["apiKeys"]]


def _digest(key: str) -> str:
    """Return what may be stored of a key, which is a secret and, for AppSync, its own id."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]

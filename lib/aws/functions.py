"""The Lambda functions that a pool calls: what each is configured to do, and what its environment tells."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lib.aws.errors import quoted
from lib.aws.session import Aws

# Amplify names what it hands to a function API_<NAME>_<OUTPUT>.
API_ID = re.compile(r"API_(.+)_GRAPHQLAPIIDOUTPUT")
API_URL = re.compile(r"API_(.+)_GRAPHQLAPIENDPOINTOUTPUT")
API_KEY = re.compile(r"API_(.+)_GRAPHQLAPIKEYOUTPUT")
USER_TABLE = re.compile(r"API_(.+)_USERTABLE_(NAME|ARN)")
_NAMES_A_TABLE = re.compile(r".*TABLE.*", re.IGNORECASE)
_IS_A_TABLE = re.compile(r"User-|arn:[^:]+:dynamodb:")
_TABLE = re.compile(r"(?:arn:[^:]+:dynamodb:[^:]*:[^:]*:table/)?([A-Za-z0-9_.-]{3,255})")
_GRAPHQL_URL = re.compile(r"https?://[^/\s]+/graphql/?")


@dataclass(frozen=True)
class FunctionFacts:
    """What Lambda says of one attached function; ``runtime`` and all below it are None where that was not allowed.

    ``variables`` hold secrets, such as the API key: they never leave this object as a whole.
    """

    name: str
    arn: str  # as the pool names it, perhaps with a version or an alias
    kind: str  # pre_sign_up or post_confirmation
    log_group: str
    runtime: str | None = None
    timeout_s: int | None = None
    memory_mb: int | None = None
    state: str | None = None
    state_reason: str | None = None
    last_update: str | None = None
    log_format: str | None = None
    application_log_level: str | None = None
    system_log_level: str | None = None
    environment_error: str | None = None  # why Lambda itself could not read the variables, such as a denied KMS key
    variables: Mapping[str, str] | None = field(default=None, repr=False)

    @property
    def readable(self) -> bool:
        """Whether this role may read its configuration; its variables may be closed all the same."""
        return self.variables is not None or self.environment_error is not None

    def told(self) -> str:
        """Return its configuration in words, without its variables; empty where it was not allowed."""
        known = (
            self.runtime,
            f"{self.timeout_s} s" if self.timeout_s else None,
            f"{self.memory_mb:,} MB" if self.memory_mb else None,
            self.state and self.state.lower(),
            self.last_update and f"last update {self.last_update.lower()}",
            self.log_format and f"{self.log_format} log",
            self.application_log_level and f"application log from {self.application_log_level}",
            self.system_log_level and f"system log from {self.system_log_level}",
        )
        return " · ".join(filter(None, known))

    def values(self, pattern: re.Pattern[str]) -> set[str]:
        """Return the values of the variables whose whole name matches."""
        return {value for name, value in (self.variables or {}).items() if pattern.fullmatch(name) and value}

    def secrets(self) -> set[str]:
        """Return the API keys that its variables hold, whatever these are called."""
        return self.values(API_KEY) | {value for value in (self.variables or {}).values() if value.startswith("da2-")}

    def urls(self) -> set[str]:
        """Return the GraphQL endpoints that its variables hold, whatever these are called."""
        return {value for value in (self.variables or {}).values() if _GRAPHQL_URL.fullmatch(value)}

    def tables(self) -> set[str]:
        """Return the names of the tables that its variables hold, as a name or an ARN, the User table's if it can."""
        values = set((self.variables or {}).values())
        found = self.values(USER_TABLE) or self.values(_NAMES_A_TABLE) or set(filter(_IS_A_TABLE.match, values))
        names = {named.group(1) for value in found if (named := _TABLE.fullmatch(value))}
        return {name for name in names if "user" in name.lower()} or names

    def perhaps_tables(self) -> set[str]:
        """Return the values that speak of users and could be a table's name; only DynamoDB can tell."""
        speaking = {
            value
            for name, value in (self.variables or {}).items()
            if "user" in f"{name} {value}".lower() and "pool" not in name.lower()
        }
        return set(filter(_TABLE.fullmatch, speaking))

    def names_the_rows(self, known_table: str | None) -> bool:
        """Return whether its environment names an API or the table, so that it can be what writes the rows."""
        named = bool(self.values(API_ID) or self.urls() or self.tables())
        return named or (known_table is not None and known_table in (self.variables or {}).values())


def configuration(aws: Aws, arn: str) -> dict[str, Any]:
    """Return what Lambda says of a function's configuration (GetFunctionConfiguration)."""
    with aws.calling(f"read the configuration of function {name_of(arn)}", action="lambda:GetFunctionConfiguration"):
        return dict(aws.client("lambda").get_function_configuration(FunctionName=arn))


@dataclass(frozen=True)
class Ran:
    """What Lambda answered to a run: ``error`` is what the function itself says went wrong, None where nothing."""

    request_id: str
    error: str | None = None


def invoke(aws: Aws, arn: str, event: str, *, dry_run: bool = False) -> Ran:
    """Run a function with an event, once, and wait for its answer; with ``dry_run`` only ask whether the role may.

    An error with ``maybe_done`` leaves open whether it ran, or still does.
    """
    with aws.calling(f"run function {name_of(arn)}", action="lambda:InvokeFunction"):
        answer = aws.once("lambda").invoke(
            FunctionName=arn, InvocationType="DryRun" if dry_run else "RequestResponse", Payload=event.encode()
        )
        said = answer["Payload"].read()
    failure = answer.get("FunctionError")
    return Ran(answer["ResponseMetadata"].get("RequestId", ""), f"{failure}: {_raised(said)}." if failure else None)


def _raised(said: bytes) -> str:
    try:
        told = json.loads(said)
        return quoted(f"{told['errorType']}: {told['errorMessage']}")
    except (ValueError, TypeError, KeyError):
        return quoted(said.decode(errors="replace"))


def facts(kind: str, arn: str, described: Mapping[str, Any]) -> FunctionFacts:
    """Return the facts of an attached function from its ``configuration``, which is empty where it was not allowed."""
    name, logging = name_of(arn), described.get("LoggingConfig") or {}
    environment = described.get("Environment") or {}
    error = environment.get("Error") or {}
    return FunctionFacts(
        name=name,
        arn=arn,
        kind=kind,
        log_group=logging.get("LogGroup") or f"/aws/lambda/{name}",
        runtime=described.get("Runtime"),
        timeout_s=described.get("Timeout"),
        memory_mb=described.get("MemorySize"),
        state=described.get("State"),
        state_reason=described.get("StateReason"),
        last_update=described.get("LastUpdateStatus"),
        log_format=logging.get("LogFormat"),
        application_log_level=logging.get("ApplicationLogLevel"),
        system_log_level=logging.get("SystemLogLevel"),
        environment_error=(error.get("Message") or error.get("ErrorCode") or "no reason given") if error else None,
        variables=environment.get("Variables", {}) if described and not error else None,
    )


def name_of(arn: str) -> str:
    """Return a function's bare name: without region, account, version and alias."""
    # arn:aws:lambda:region:account:function:name, perhaps with :version
    return arn.split(":")[6] if arn.count(":") >= 6 else arn

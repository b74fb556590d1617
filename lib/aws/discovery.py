"""The chain behind a pool: its triggers, the function, its API, the table and the log group.

Configuration comes first; what it leaves open is asked of AWS in a few cheap reads, each of which may be refused:
that costs a fact and gives a warning, never the rest.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from lib.aws import api, functions, keys, logs, pool, table
from lib.aws.api import ApiFacts, DataSource
from lib.aws.checks import Check, probe
from lib.aws.functions import FunctionFacts
from lib.aws.keys import Key
from lib.aws.logs import GroupFacts
from lib.aws.session import SERVICES, Aws
from lib.aws.table import TableFacts
from lib.model import AwsError, ConfigError, CredentialsError, NotReadable, Wiring, iso, now

__all__ = ["Chain", "Check", "chain", "discover", "probe"]

Fact = TypeVar("Fact")

SIGN_UP_TRIGGERS = ("pre_sign_up", "post_confirmation")
_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True)
class Chain:
    """Everything that one look at the chain found. What could not be asked is None or empty, and a warning says so."""

    wiring: Wiring
    pool: Mapping[str, Any] | None  # as DescribeUserPool gives it
    functions: tuple[FunctionFacts, ...]  # those that may write the rows, and nothing else that the pool calls
    api: ApiFacts | None
    data_source: DataSource | None
    table: TableFacts | None
    groups: tuple[GroupFacts, ...]
    keys: tuple[Key, ...]  # of the API, whether the trigger uses them or not; those it uses are in ``wiring``

    def known(self) -> dict[object, Any]:
        """Return what was found as ``probe`` takes it; what was not may be asked again, to tell why."""
        found: dict[object, Any] = {
            "identity": self.wiring.identity,
            "pool": self.pool,
            "keys": self.keys,
            "table": self.table,
            **{("function", each.name): each for each in self.functions if each.readable},
            **{("group", each.name): each for each in self.groups},
        }
        return {key: fact for key, fact in found.items() if fact}

    def told(self) -> dict[str, str]:
        """Return what is known of each link, by the name of its check, in words and without a secret."""
        facts = {
            "pool": _pool_told(self.pool or {}),
            "function": " · ".join(dict.fromkeys(each.told() for each in self.functions)),
            "api": " · ".join((self.api.name, *self.api.authentication)) if self.api else "",
            "table": _table_told(self.table, self.data_source) if self.table else "",
            "log_group": " · ".join(dict.fromkeys(_group_told(each) for each in self.groups)),
        }
        return {name: words.strip(" ·") for name, words in facts.items() if words.strip(" ·")}


def discover(aws: Aws) -> Wiring:
    """Return the chain as far as it is configured or can be found; what could not be asked is in ``warnings``."""
    return chain(aws).wiring


def chain(aws: Aws) -> Chain:
    """Return the chain with the facts of each link, some of which are secrets; ``wiring`` has none."""
    finder = _Finder(aws)
    settings = aws.settings
    finder.refuse_mixed_worlds()
    identity = finder.ask(aws.identity)
    described = finder.ask(lambda: pool.describe(aws))
    triggers = _triggers(described)
    attached = finder.functions(described, triggers)
    trigger, counting = finder.trigger(attached)
    found = finder.api(counting)
    api_id = found.id or None if found else None
    sources = finder.data_sources(api_id)
    name = settings.table or finder.table(counting, sources)
    source = next((each for each in sources if each.table == name), None)
    facts, versioned = finder.table_facts(name), finder.versioned(name, source)
    groups = settings.log_groups or tuple(dict.fromkeys(function.log_group for function in counting))
    group_facts = finder.groups(groups)
    listed, used = finder.keys(api_id, counting)
    wiring = Wiring(
        pool=settings.user_pool_id,
        region=aws.region,
        table=name,
        versioned=versioned,
        trigger=trigger,
        triggers=triggers,
        correlation=settings.correlation or "username",
        grace_minutes=settings.grace_minutes,
        log_groups=tuple(groups),
        functions=tuple(dict.fromkeys(function.name for function in counting)),
        retention_days=min((each.retention_days for each in group_facts if each.retention_days), default=None),
        # Evidence of all groups together begins when the youngest of them began.
        group_created_at=max((each.created_at for each in group_facts), default=None),
        keys=_known(used),
        api_id=api_id,
        graphql_url=settings.graphql_url or (found.url if found else None),
        conflict_handler=finder.conflict_handler(api_id, source),
        endpoints={service: aws.endpoint(service) for service in SERVICES},
        identity=identity,
        warnings=tuple(dict.fromkeys(finder.warnings)),
    )
    return Chain(wiring, described, tuple(counting), found, source, facts, group_facts, listed)


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

    def refuse_mixed_worlds(self) -> None:
        """Warn where some services are on this machine and others are AWS: nothing is repaired then."""
        try:
            self._aws.on_loopback(*filter(None, [self._settings.graphql_url]))
        except ConfigError as error:
            self.warnings.append(f"{error} Until then every repair is refused.")
        except AwsError as error:
            self.warnings.append(str(error))

    def functions(self, described: Mapping[str, Any] | None, triggers: Mapping[str, str]) -> list[FunctionFacts]:
        """Return the functions that the pool calls at sign-up."""
        found = [(kind, triggers[kind]) for kind in SIGN_UP_TRIGGERS if kind in triggers]
        if described is not None and not found:
            self.warnings.append(
                f"Pool {self._settings.user_pool_id} has neither a PreSignUp nor a PostConfirmation trigger, so "
                "nothing creates rows. Attach the trigger, or set expects_row and log_group if rows come another way."
            )
        configurations = {arn: self.ask(partial(functions.configuration, self._aws, arn)) for _, arn in found}
        facts = [functions.facts(kind, arn, configurations[arn] or {}) for kind, arn in found]
        self.warnings += [
            f"The environment of function {each.name} cannot be decrypted by this role (KMS)."
            for each in facts
            if each.environment_error
        ]
        return facts

    def trigger(self, attached: list[FunctionFacts]) -> tuple[str, list[FunctionFacts]]:
        """Return the kind of trigger that promises an account its row, and the functions that may be it."""
        expected = self._settings.expects_row
        if expected:
            return expected, [each for each in attached if each.kind == expected] or attached
        if len(attached) == 1:
            return attached[0].kind, attached
        naming = [each for each in attached if each.names_the_rows(self._settings.table)]
        if len(naming) == 1:
            return naming[0].kind, naming
        if attached:
            self.warnings.append(
                "Both a PreSignUp and a PostConfirmation trigger are attached and their environments do not tell which "
                "one creates the rows: taken to be PostConfirmation. Set expects_row."
            )
        return "post_confirmation", attached

    def api(self, counting: list[FunctionFacts]) -> ApiFacts | None:
        """Return the API: configured, named by the functions' variables, or found among all by endpoint or pool."""
        url = self._settings.graphql_url or self._only(counting, functions.API_URL, "API", "graphql_url")
        api_id = self._settings.api_id or self._only(counting, functions.API_ID, "API", "api_id")
        if api_id:
            described = None if url else self.ask(lambda: api.described(self._aws, api_id))
            return described or ApiFacts(api_id, "", url, (), ())
        listed = self.ask(lambda: api.listed(self._aws)) or []
        urls = {url} if url else {each for function in counting for each in function.urls()}
        found = api.at_url(listed, urls)
        if not urls:
            found = [each for each in listed if self._settings.user_pool_id in each.pools]
        if len(found) > 1:
            self.warnings.append("More than one API lets this pool's accounts in. Set api_id.")
        if len(found) == 1:
            return replace(found[0], url=url or found[0].url)
        # An endpoint that no listed API answers at: it may be called, and nothing else is known of it.
        return ApiFacts("", "", url, (), ()) if url else None

    def data_sources(self, api_id: str | None) -> list[DataSource]:
        """Return the API's DynamoDB tables."""
        return (self.ask(lambda: api.data_sources(self._aws, api_id)) if api_id else None) or []

    def table(self, counting: list[FunctionFacts], sources: Sequence[DataSource]) -> str | None:
        """Return the User table's name: as the functions write it, else as the API does."""
        written = {name for function in counting for name in function.tables()}
        behind = {each.table for each in sources if each.name == "UserTable"} or {
            each.table for each in sources if each.table.startswith("User-")
        }
        by_api = any(function.values(functions.API_ID) or function.urls() for function in counting)
        for names in (behind, written) if by_api else (written, behind):
            if len(names) == 1:
                return names.pop()
        perhaps = {each for function in counting for each in function.perhaps_tables()}
        confirmed = [name for name in sorted(perhaps - written) if self._is_table(name)]
        if len(confirmed) == 1:
            return confirmed[0]
        several = "The trigger's environment names more than one table" if written else "The User table was not found"
        self.warnings.append(f"{several}. Set table.")
        return None

    def table_facts(self, name: str | None) -> TableFacts | None:
        """Return what DynamoDB says of the table; that its key cannot be matched to accounts is a warning."""
        return self.ask(lambda: table.describe(self._aws, name)) if name else None

    def versioned(self, name: str | None, source: DataSource | None) -> bool:
        """Return whether AppSync detects conflicts on the table."""
        if name is None or source is not None:
            return bool(source and source.versioned)
        return bool(self.ask(lambda: table.shows_versions(self._aws, name)))

    def conflict_handler(self, api_id: str | None, source: DataSource | None) -> str | None:
        """Return who wins a conflicting write, where conflicts are detected at all."""
        if not api_id or source is None or not source.versioned:
            return None
        return self.ask(lambda: api.conflict_handler(self._aws, api_id, source))

    def groups(self, names: Iterable[str]) -> tuple[GroupFacts, ...]:
        """Return the facts of the log groups that exist."""
        return tuple(found for name in names if (found := self._group(name)))

    def keys(self, api_id: str | None, counting: list[FunctionFacts]) -> tuple[tuple[Key, ...], list[Key]]:
        """Return the API's keys, and those in the triggers' environments; all of them where that is not known."""
        held = {keys.digest(value) for function in counting for value in function.secrets()}
        readable = bool(counting) and all(function.variables is not None for function in counting)
        if not api_id or (readable and not held):
            return (), []
        listed = self.ask(lambda: keys.listed(self._aws, api_id)) or []
        used = [key for key in listed if key.digest in held]
        if held and listed and not used:
            self.warnings.append(
                f"The API key in the trigger's environment is none of API {api_id}: every sign-up may lose its row. "
                "Create a key and deploy the function with it."
            )
        return tuple(listed), used if readable else listed

    def _group(self, name: str) -> GroupFacts | None:
        known = len(self.warnings)
        found = self.ask(lambda: logs.group(self._aws, name))
        if found is None and self._signed_in and len(self.warnings) == known:
            self.warnings.append(f"The log group {name} does not exist: the trigger never ran, or log_group is wrong.")
        return found

    def _is_table(self, name: str) -> bool:
        """Return whether there is such a table, as far as this role may know: it was only a guess."""
        try:
            return self._signed_in and bool(table.describe(self._aws, name))
        except (AwsError, NotReadable):
            return False

    def _only(self, counting: Sequence[FunctionFacts], pattern: re.Pattern[str], what: str, key: str) -> str | None:
        values = {value for function in counting for value in function.values(pattern)}
        if len(values) > 1:
            self.warnings.append(f"The trigger's environment names more than one {what}. Set {key}.")
        return values.pop() if len(values) == 1 else None


def _pool_told(described: Mapping[str, Any]) -> str:
    by = " or ".join(described.get("UsernameAttributes") or ())
    return f"sign-in by {by.replace('_', ' ')}" if by else ""


def _table_told(facts: TableFacts, source: DataSource | None) -> str:
    behind = f"data source {source.name}" if source else "no data source known"
    return f"{facts.status.lower()} · key id (S) · {behind}"


def _group_told(facts: GroupFacts) -> str:
    kept = f"kept {facts.retention_days:,} days" if facts.retention_days else "kept for ever"
    return f"since {facts.created_at:%-d %b %Y} · {kept}"


def _triggers(described: Mapping[str, Any] | None) -> dict[str, str]:
    """Return every function that the pool calls, by the trigger's name as in ``pre_sign_up``."""
    config = (described or {}).get("LambdaConfig") or {}
    # Some are an ARN, some an object with one, and KMSKeyID is no trigger.
    arns = {
        _WORD.sub("_", name).lower().removesuffix("_config"): value.get("LambdaArn")
        if isinstance(value, dict)
        else value
        for name, value in config.items()
        if name != "KMSKeyID"
    }
    return {name: arn for name, arn in arns.items() if arn}


def _known(used: Iterable[Key]) -> tuple[Mapping[str, str], ...]:
    """Return what a snapshot keeps of keys."""
    seen_at = iso(now())
    return tuple({"digest": key.digest, "expires_at": iso(key.expires_at), "seen_at": seen_at} for key in used)

"""Whether each link of the chain answers."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from lib.aws import errors, logs, pool, table
from lib.aws.graphql import Api
from lib.aws.session import Aws
from lib.model import AwsError, CredentialsError, NotReadable, Wiring, now

_KEY_SOON = timedelta(days=2)


@dataclass(frozen=True)
class Check:
    """What was asked of one link, and what to do about the answer; ``status`` is ok, warning, problem or unknown."""

    name: str
    status: str
    title: str
    cause: str = ""
    fix: str = ""
    impact: str = ""


@dataclass(frozen=True)
class _Link:
    name: str
    title: str
    impact: str
    missing: str  # what to do when the chain has no such link
    asks: tuple[tuple[str, Callable[[], object]], ...]  # its name, and the read that it must answer


def probe(aws: Aws, wiring: Wiring) -> list[Check]:
    """Ask every link of the chain for something small, and return one check per link. Reads only."""
    checks = [_check(link) for link in _links(aws, wiring)]
    return [*checks, _key_check(wiring)] if wiring.keys else checks


def _links(aws: Aws, wiring: Wiring) -> tuple[_Link, ...]:
    name, url = wiring.table, wiring.graphql_url
    return (
        _Link("identity", "AWS identity", "Nothing can be read.", "", (("the credentials", aws.identity),)),
        _Link(
            "pool",
            "User pool",
            "Accounts cannot be read, so no snapshot is complete.",
            "Set user_pool_id.",
            ((wiring.pool, lambda: pool.describe(aws)),),
        ),
        _Link(
            "function",
            "Trigger function",
            "The API and the log group behind it cannot be found by themselves.",
            "Attach a trigger to the pool, or set table, graphql_url and log_group.",
            tuple((each, partial(_function_state, aws, each)) for each in wiring.functions),
        ),
        _Link(
            "api",
            "GraphQL API",
            "Rows cannot be repaired through AppSync.",
            'Set graphql_url, or writer = "dynamodb".',
            ((url, lambda: Api(aws, url, aws.settings.api_key).execute("query { __typename }")),) if url else (),
        ),
        _Link(
            "table",
            "User table",
            "Rows cannot be read, so no snapshot is complete.",
            "Set table.",
            ((name, lambda: table.describe(aws, name)),) if name else (),
        ),
        _Link(
            "log_group",
            "Log group",
            "Causes stay unknown.",
            "Set log_group.",
            tuple((each, partial(_existing_group, aws, each)) for each in wiring.log_groups),
        ),
    )


def _check(link: _Link) -> Check:
    if not link.asks:
        cause = "It is not configured and was not found."
        return Check(link.name, "warning", f"{link.title} not known", cause, link.missing, link.impact)
    for _, ask in link.asks:
        try:
            ask()
        except (AwsError, NotReadable) as error:
            return _failed(link, error)
    return Check(link.name, "ok", f"{link.title} answers", cause=", ".join(name for name, _ in link.asks))


def _failed(link: _Link, error: AwsError | NotReadable) -> Check:
    if isinstance(error, AwsError) and not isinstance(error, CredentialsError) and errors.is_denied(error):
        # It may well work: only this role may not look.
        fix = f"Allow {error.action} (see: python -m lib policy)."
        return Check(link.name, "unknown", f"{link.title} cannot be looked at", str(error), fix, link.impact)
    cause, _, fix = str(error).partition(". ")
    return Check(link.name, "problem", f"{link.title} does not answer", f"{cause.rstrip('.')}.", fix, link.impact)


def _function_state(aws: Aws, name: str) -> None:
    with aws.calling(f"read the configuration of function {name}", action="lambda:GetFunctionConfiguration"):
        state = aws.client("lambda").get_function_configuration(FunctionName=name).get("State")
    if state == "Failed":
        raise NotReadable(f"Function {name} is in the state Failed. Deploy it again.")


def _existing_group(aws: Aws, name: str) -> None:
    if logs.group(aws, name) is None:
        raise NotReadable(f"The log group {name} does not exist. Correct log_group, or wait for the first sign-up.")


def _key_check(wiring: Wiring) -> Check:
    expires_at = max(datetime.fromisoformat(key["expires_at"]) for key in wiring.keys)
    left = expires_at - now()
    title = f"API key {'expired' if left < timedelta() else 'expires'} on {expires_at:%Y-%m-%d %H:%M} UTC"
    if left >= _KEY_SOON:
        return Check("api_key", "ok", title)
    return Check(
        "api_key",
        "problem" if left < timedelta() else "warning",
        title,
        cause="AppSync refuses a key from the hour it expires; many triggers hide that error.",
        fix="Extend the key, or create a new one and deploy the function with it.",
        impact="Every sign-up without a valid key loses its row.",
    )

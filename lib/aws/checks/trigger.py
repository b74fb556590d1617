"""The checks of the pool, its trigger and the function behind it."""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from fnmatch import fnmatchcase
from typing import Any

from lib.aws.checks.check import Check, Link, Look
from lib.aws.functions import name_of
from lib.aws.session import Aws
from lib.model import AwsError, NotReadable, now

IDENTITY = Link("identity", "AWS identity", "Nothing can be read.")
POOL = Link("pool", "User pool", "Accounts cannot be read, so no snapshot is complete.")
TRIGGER = Link("trigger", "Trigger", "No sign-up gets its row.")
FUNCTION = Link("function", "Trigger function", "The API and the log group behind it cannot be found by themselves.")
RUNTIME = Link("runtime", "Function runtime", "It gets no security patches, and soon no fix of it can be deployed.")
PERMISSION = Link("invoke_permission", "Permission to invoke", "Cognito cannot run the trigger, so sign-ups fail.")
TIME_OUT = Link(
    "time_out",
    "Function time-out",
    "A late attempt can write a row for a sign-up that Cognito has refused: an orphaned row.",
)

COGNITO = "cognito-idp.amazonaws.com"
COGNITO_WAITS_S = 5
"""How long Cognito waits for a trigger before it tries again, three times in all; it cannot be changed."""

_DEFAULT_S = 3  # Lambda's own
_MISSING = "ResourceNotFoundException"
_KINDS = {"pre_sign_up": "PreSignUp", "post_confirmation": "PostConfirmation"}
_RETIRED_SOON = timedelta(days=60)
_LANGUAGE = re.compile(r"[a-z]+")

RUNTIMES_AS_OF = date(2026, 6, 15)
RETIRED = {
    "nodejs10.x": date(2021, 7, 30),
    "nodejs12.x": date(2023, 3, 31),
    "nodejs14.x": date(2023, 12, 4),
    "nodejs16.x": date(2024, 6, 12),
    "nodejs18.x": date(2025, 9, 1),
    "nodejs20.x": date(2026, 4, 30),
    "nodejs22.x": date(2027, 4, 30),
    "nodejs24.x": date(2028, 4, 30),
    "python3.6": date(2022, 7, 18),
    "python3.7": date(2023, 12, 4),
    "python3.8": date(2024, 10, 14),
    "python3.9": date(2025, 12, 15),
    "python3.10": date(2026, 10, 31),
    "python3.11": date(2027, 6, 30),
    "python3.12": date(2028, 10, 31),
    "python3.13": date(2029, 6, 30),
    "python3.14": date(2029, 6, 30),
    "java8": date(2024, 1, 8),
    "java8.al2": date(2027, 6, 30),
    "java11": date(2027, 6, 30),
    "java17": date(2027, 6, 30),
    "java8.al2023": date(2029, 6, 30),
    "java11.al2023": date(2029, 6, 30),
    "java17.al2023": date(2029, 6, 30),
    "java21": date(2029, 6, 30),
    "java25": date(2029, 6, 30),
    "dotnetcore3.1": date(2023, 4, 3),
    "dotnet6": date(2024, 12, 20),
    "dotnet8": date(2026, 11, 10),
    "dotnet10": date(2028, 11, 14),
    "ruby2.7": date(2023, 12, 7),
    "ruby3.2": date(2026, 3, 31),
    "ruby3.3": date(2027, 3, 31),
    "ruby3.4": date(2028, 3, 31),
    "ruby4.0": date(2029, 3, 31),
    "go1.x": date(2024, 1, 8),
    "provided": date(2024, 1, 8),
    "provided.al2": date(2026, 7, 31),
    "provided.al2023": date(2029, 6, 30),
}
"""When AWS deprecates a runtime, as known on ``RUNTIMES_AS_OF``; of each language the newest last.

From https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html, which AWS changes now and then.
"""
# What AWS names as the successor where the name of a runtime does not lead to it.
_SUCCESSORS = {"go": "provided", "dotnetcore": "dotnet"}


def identity(look: Look) -> Check:
    """Whether the credentials are anybody's."""
    return IDENTITY.ok("AWS identity answers", look.once("identity", look.aws.identity))


def pool(look: Look) -> Check:
    """Whether the pool is there."""
    look.pool()
    return POOL.ok("User pool answers", look.wiring.pool)


def trigger(look: Look) -> Check:
    """Whether the pool calls a function at sign-up, at the moment that is expected."""
    attached = look.pool().get("LambdaConfig") or {}
    expected = _KINDS[look.wiring.trigger]
    if attached.get(expected):
        return TRIGGER.ok(f"{expected} trigger attached", name_of(attached[expected]))
    others = [kind for kind in _KINDS.values() if attached.get(kind)]
    cause = f"It calls only {others[0]}." if others else "It calls no function at sign-up."
    fix = f"Attach the function to the pool's {expected} trigger, or set expects_row if rows come another way."
    return TRIGGER.problem(f"No {expected} trigger is attached to the pool", cause, fix)


def function_state(look: Look) -> Check:
    """Whether the function is there and can run."""
    if not look.wiring.functions:
        fix = "Attach a trigger to the pool, or set table, graphql_url and log_group."
        return FUNCTION.warning("Trigger function not known", "It is not configured and was not found.", fix)
    for each in look.functions():
        if each.state == "Failed":
            raise NotReadable(f"Function {each.name} is in the state Failed. Deploy it again.")
        if each.last_update == "Failed":
            cause = f"{each.name} runs its old code."
            return FUNCTION.warning("The last deploy of the trigger function failed", cause, "Deploy it again.")
    return FUNCTION.ok("Trigger function answers", ", ".join(look.wiring.functions))


def runtime(look: Look) -> Check:
    """Whether AWS still patches the runtime that the function is written for."""
    used = {each.name: each.runtime for each in look.functions()}
    today = now().date()
    for name, version in used.items():
        retires = RETIRED.get(version or "")
        if version and retires and retires - today < _RETIRED_SOON:
            on = f"{retires:%-d %b %Y}"
            return RUNTIME.warning(
                f"AWS retired {version} on {on}" if retires <= today else f"AWS retires {version} on {on}",
                f"{name} runs on it (AWS's dates as of {RUNTIMES_AS_OF:%-d %b %Y}).",
                f"Move it to {_newest(version)}.",
            )
    for name, version in used.items():
        if version is None:
            return RUNTIME.unknown(f"{name} is a container image: what it runs does not show.", "Rebuild it regularly.")
        if version not in RETIRED:
            cause = f"When AWS retires {version} is not known here (AWS's dates as of {RUNTIMES_AS_OF:%-d %b %Y})."
            return RUNTIME.unknown(cause, "Look it up in AWS's list of Lambda runtimes.")
    return RUNTIME.ok("Function runtime is supported", ", ".join(dict.fromkeys(filter(None, used.values()))))


def invoke_permission(look: Look) -> Check:
    """Whether the function's resource policy lets Cognito invoke it for this very pool."""
    arn = str(look.pool().get("Arn") or "")
    for name in (each.name for each in look.functions()):
        found = _statements(look.aws, name, _qualifier(look, name))
        about = [each for each in found if _is_about(each, arn)]
        if any(each.get("Effect") == "Deny" for each in about):
            cause = f"The resource policy of {name} denies it to Cognito."
            return PERMISSION.problem("Cognito may not invoke the function", cause, "Remove that statement.")
        if not about:
            cause = f"No statement of the resource policy of {name} allows {COGNITO} to invoke it for this pool."
            return PERMISSION.problem("Cognito may not invoke the function", cause, _grant(name, arn))
    return PERMISSION.ok("Cognito may invoke the function", f"for {look.wiring.pool}")


def time_out(look: Look) -> Check:
    """Whether the function ends before Cognito gives up on it."""
    longest = {each.name: each.timeout_s or _DEFAULT_S for each in look.functions()}
    for name, seconds in longest.items():
        if seconds > COGNITO_WAITS_S:
            return TIME_OUT.warning(
                f"The function may run for {seconds:g} s, Cognito waits {COGNITO_WAITS_S} s",
                f"Cognito gives up on {name} after {COGNITO_WAITS_S} s and tries again; the first attempt goes on.",
                f"Set the time-out of {name} to {COGNITO_WAITS_S} s.",
            )
    return TIME_OUT.ok(f"The function ends within Cognito's {COGNITO_WAITS_S} s", f"{max(longest.values()):g} s")


def _qualifier(look: Look, name: str) -> dict[str, str]:
    """Return the version or alias that the pool calls: it has a policy of its own."""
    arns = (arn for arn in look.wiring.triggers.values() if name_of(arn) == name)
    return next(({"Qualifier": parts[7]} for arn in arns if len(parts := arn.split(":")) == 8), {})


def _statements(aws: Aws, name: str, qualifier: dict[str, str]) -> list[dict[str, Any]]:
    """Return the statements of a function's resource policy; none where it has no policy."""
    try:
        with aws.calling(f"read the resource policy of function {name}", action="lambda:GetPolicy"):
            policy = json.loads(aws.client("lambda").get_policy(FunctionName=name, **qualifier)["Policy"])
    except AwsError as error:
        if error.code == _MISSING:
            return []
        raise
    found = policy["Statement"]
    return [found] if isinstance(found, dict) else list(found)


def _is_about(statement: Mapping[str, Any], pool_arn: str) -> bool:
    """Return whether a statement is about Cognito's invoking the function for this pool."""
    principal = statement.get("Principal")
    services = _listed(principal.get("Service")) if isinstance(principal, dict) else _listed(principal)
    actions = _listed(statement.get("Action"))
    return (
        any(service in (COGNITO, "*") for service in services)
        and any(fnmatchcase("lambda:InvokeFunction", action) for action in actions)
        and all(_holds(name, value, pool_arn) for name, value in _conditions(statement))
    )


def _conditions(statement: Mapping[str, Any]) -> Iterable[tuple[str, list[str]]]:
    for tests in (statement.get("Condition") or {}).values():
        for name, values in tests.items():
            yield name.lower(), _listed(values)


def _holds(name: str, values: list[str], pool_arn: str) -> bool:
    if name == "aws:sourcearn":
        return any(fnmatchcase(pool_arn, value) for value in values)
    if name == "aws:sourceaccount":
        return pool_arn.split(":")[4:5] == values[:1] or any(value in pool_arn.split(":") for value in values)
    # A condition that is not known here might not hold for Cognito: then nothing is promised.
    return False


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _grant(name: str, arn: str) -> str:
    return (
        f"aws lambda add-permission --function-name {name} --statement-id cognito --action lambda:InvokeFunction "
        f"--principal {COGNITO} --source-arn {arn}"
    )


def _newest(version: str) -> str:
    named = _LANGUAGE.match(version)
    language = named.group() if named else version
    family = _SUCCESSORS.get(language, language)
    return next(each for each in reversed(RETIRED) if each.startswith(family))

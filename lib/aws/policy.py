"""The least-privilege IAM policy for one discovered chain. Pure: it asks AWS nothing."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lib.aws.permissions import GRAPHQL_FIELDS, PERMISSIONS, READ, REPAIR, Permission
from lib.model import Wiring

_SIDS = {
    "pool": "Pool",
    "table": "Table",
    "function": "Function",
    "log_group": "LogGroup",
    "api": "Api",
    "query": "ApiQueries",
    "mutation": "ApiMutations",
    "anything": "NoResourceLevel",
}
_MISSING = {
    "table": "The table is not known: set table",
    "function": "The trigger's function is not known: attach the trigger",
    "log_group": "The log group is not known: set log_group",
    "api": "The API's id is not known: set api_id where there is an API",
}
_PARTITIONS = {"cn": "aws-cn", "us-gov": "aws-us-gov"}


@dataclass(frozen=True)
class Policy:
    """An IAM policy document, and a sentence for each part of the chain that it has to leave out."""

    document: dict[str, Any]
    left_out: tuple[str, ...]

    def text(self) -> str:
        """Return the document as it is pasted into IAM."""
        return json.dumps(self.document, indent=2)

    def actions(self) -> set[str]:
        """Return every action that it allows."""
        return {action for statement in self.document["Statement"] for action in statement["Action"]}


def policy(wiring: Wiring, *, repair: bool = False, writer: str | None = None) -> Policy:
    """Return what reading the chain needs, and with ``repair`` what repairs of it need besides.

    Each statement names its resources; `*` stands only where IAM knows no resource for the action. ``writer`` is how
    rows are written, where that is set: straight into the table needs nothing of AppSync's.
    """
    resources = _resources(wiring)
    wanted = [each for each in PERMISSIONS if each.use == READ or (repair and each.use == REPAIR)]
    if writer == "dynamodb":
        wanted = [each for each in wanted if each.on not in GRAPHQL_FIELDS]
    statements = [
        _statement(use, on, resources[on], wanted)
        for use, on in dict.fromkeys((each.use, each.on) for each in wanted)
        if resources[on]
    ]
    return Policy({"Version": "2012-10-17", "Statement": statements}, tuple(_left_out(wanted, resources)))


def missing(texts: Iterable[str]) -> list[str]:
    """Return the actions that messages of refused calls say the role needs."""
    told = " ".join(texts)
    actions = dict.fromkeys(each.action for each in PERMISSIONS)
    return [action for action in actions if re.search(rf"\bneeds {re.escape(action)}\b", told)]


def _statement(use: str, on: str, resources: Sequence[str], wanted: Iterable[Permission]) -> dict[str, Any]:
    actions = [each.action for each in wanted if (each.use, each.on) == (use, on)]
    return {
        "Sid": ("Repair" if use == REPAIR else "") + _SIDS[on],
        "Effect": "Allow",
        "Action": actions,
        "Resource": resources[0] if len(resources) == 1 else list(resources),
    }


def _left_out(wanted: Sequence[Permission], resources: dict[str, list[str]]) -> Iterable[str]:
    for on, sentence in _MISSING.items():
        of_the_api = ("api", *GRAPHQL_FIELDS) if on == "api" else (on,)
        actions = dict.fromkeys(each.action for each in wanted if each.on in of_the_api)
        if actions and not resources[on]:
            yield f"{sentence}. Without it the policy leaves out {', '.join(actions)}."


def _resources(wiring: Wiring) -> dict[str, list[str]]:
    """Return the ARNs of each kind of resource; none where the chain does not know it."""
    partition, region, account = _partition(wiring.region), wiring.region, _account(wiring)

    def arn(service: str, resource: str) -> str:
        return f"arn:{partition}:{service}:{region}:{account}:{resource}"

    api = [arn("appsync", f"apis/{wiring.api_id}")] if wiring.api_id else []
    return {
        "pool": [arn("cognito-idp", f"userpool/{wiring.pool}")],
        "table": [arn("dynamodb", f"table/{wiring.table}")] if wiring.table else [],
        "function": [each for name in wiring.functions for each in _function(wiring, name, arn("lambda", "function"))],
        # Some actions are checked on the group, others on its streams.
        "log_group": [arn("logs", f"log-group:{name}{end}") for name in wiring.log_groups for end in ("", ":*")],
        "api": api,
        **{
            kind: [f"{base}/types/{kind.title()}/fields/{field}" for base in api for field in fields]
            for kind, fields in GRAPHQL_FIELDS.items()
        },
        "anything": ["*"],
    }


def _function(wiring: Wiring, name: str, prefix: str) -> list[str]:
    """Return a function's ARN, and that of the version or alias that the pool calls, which IAM tells apart."""
    called = [arn for arn in wiring.triggers.values() if arn.split(":")[6:7] == [name]]
    bare = [":".join(arn.split(":")[:7]) for arn in called] or [f"{prefix}:{name}"]
    return list(dict.fromkeys([*bare, *called]))


def _account(wiring: Wiring) -> str:
    """Return the account id; `*` where nobody could tell it: a policy only ever allows things in its own account."""
    known = [wiring.identity or "", *wiring.triggers.values()]
    return next((parts[4] for arn in known if len(parts := arn.split(":")) > 5 and parts[4].isdigit()), "*")


def _partition(region: str) -> str:
    return next((name for prefix, name in _PARTITIONS.items() if region.startswith(f"{prefix}-")), "aws")

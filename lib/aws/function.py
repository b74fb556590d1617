"""The function behind a trigger, as Lambda describes it."""

import json
from collections.abc import Mapping
from typing import Any

from lib.aws.session import Aws
from lib.model import AwsError

_MISSING = "ResourceNotFoundException"


def configuration(aws: Aws, name: str) -> dict[str, Any]:
    """Return what GetFunctionConfiguration says of a function; its environment may hold secrets."""
    with aws.calling(f"read the configuration of function {name}", action="lambda:GetFunctionConfiguration"):
        return dict(aws.client("lambda").get_function_configuration(FunctionName=name))


def variables(described: Mapping[str, Any]) -> Mapping[str, str] | None:
    """Return the environment in a function's configuration, None where this role cannot decrypt it."""
    environment = described.get("Environment") or {}
    return None if environment.get("Error") else environment.get("Variables") or {}


def statements(aws: Aws, name: str) -> list[dict[str, Any]]:
    """Return the statements of a function's resource policy; none where it has no policy."""
    try:
        with aws.calling(f"read the resource policy of function {name}", action="lambda:GetPolicy"):
            policy = json.loads(aws.client("lambda").get_policy(FunctionName=name)["Policy"])
    except AwsError as error:
        if error.code == _MISSING:
            return []
        raise
    found = policy["Statement"]
    return [found] if isinstance(found, dict) else list(found)

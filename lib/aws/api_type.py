"""What the API says of its own type User: what a mutation may select, must be given, and may be conditional on."""

from dataclasses import dataclass
from typing import Any

from lib.aws.graphql import FIELDS, VERSION_FIELDS, Api
from lib.aws.session import Aws
from lib.model import AwsError, CredentialsError

_ASKED = """query Types {
  model: __type(name: "User") { fields { name args { name } type { ...kinds } } }
  input: __type(name: "CreateUserInput") { inputFields { name defaultValue type { kind } } }
  condition: __type(name: "ModelUserConditionInput") { inputFields { name } }
}
fragment kinds on __Type { kind ofType { kind ofType { kind ofType { kind } } } }"""
_WRAPPERS = ("NON_NULL", "LIST")


@dataclass(frozen=True)
class ApiType:
    """The fields of type User that are no other records, and the names that its inputs know."""

    fields: tuple[str, ...]
    required: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()


def ask(aws: Aws, url: str) -> ApiType | None:
    """Return what introspection tells of the type User; None where it is switched off or the API does not answer.

    Raises ``CredentialsError`` where the API refuses the caller.
    """
    try:
        told = Api(aws, url, aws.settings.api_key).execute(_ASKED)
    except CredentialsError:
        raise
    except AwsError:
        return None
    model, given, condition = told.get("model"), told.get("input"), told.get("condition")
    if not model:
        return None
    return ApiType(
        fields=tuple(dict.fromkeys([*FIELDS, *(each["name"] for each in model["fields"] if _is_plain(each))])),
        required=tuple(each["name"] for each in _inputs(given) if _is_required(each)),
        conditions=tuple(each["name"] for each in _inputs(condition)),
    )


def _inputs(kind: dict[str, Any] | None) -> list[dict[str, Any]]:
    return (kind or {}).get("inputFields") or []


def _is_plain(field: dict[str, Any]) -> bool:
    """Return whether a field holds values, not other records, and can be asked for without arguments."""
    kind = field["type"]
    while kind["kind"] in _WRAPPERS:
        kind = kind["ofType"]
    is_value = kind["kind"] in ("SCALAR", "ENUM")
    return is_value and not field["args"] and field["name"] not in VERSION_FIELDS


def _is_required(field: dict[str, Any]) -> bool:
    return bool(field["type"]["kind"] == "NON_NULL" and field["defaultValue"] is None)

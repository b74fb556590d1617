"""Plain values as DynamoDB attribute values: the way back from ``rows.plain``. Pure."""

from decimal import Decimal
from typing import Any


def typed(value: Any) -> dict[str, Any]:
    """Return a JSON value as a DynamoDB attribute value; JSON has no sets and no binary, so neither has this."""
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int | float | Decimal):
        return {"N": str(value)}
    if isinstance(value, list):
        return {"L": [typed(inner) for inner in value]}
    if isinstance(value, dict):
        return {"M": {name: typed(inner) for name, inner in value.items()}}
    return {"S": str(value)}

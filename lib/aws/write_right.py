"""Whether this role may write rows: asked by a write that can never succeed, or by a read that tells as much."""

import uuid
from dataclasses import dataclass

from lib.aws import errors
from lib.aws.graphql import ACTION, Api
from lib.aws.session import Aws
from lib.model import AwsError, ConfigError, CredentialsError, NotReadable, Wiring

_WRITE = "dynamodb:DeleteItem"
_IMPOSSIBLE = "attribute_exists(id) AND attribute_not_exists(id)"


@dataclass(frozen=True)
class WriteRight:
    """Whether rows may be written: ``may`` is None where that cannot be told; ``action`` is the IAM action needed."""

    may: bool | None
    action: str
    why: str


def write_right(aws: Aws, wiring: Wiring, writer: str) -> WriteRight:
    """Return whether rows may be written the way ``writer`` does (appsync or dynamodb). Nothing is written."""
    try:
        return _through_api(aws, wiring) if writer == "appsync" else _directly(aws, wiring)
    except (AwsError, ConfigError, NotReadable) as error:
        return WriteRight(None, ACTION if writer == "appsync" else _WRITE, str(error))


def _directly(aws: Aws, wiring: Wiring) -> WriteRight:
    if not wiring.table:
        return WriteRight(None, _WRITE, "The User table is not known. Set table.")
    try:
        with aws.calling(f"delete a row of table {wiring.table}", action=_WRITE):
            aws.writer("dynamodb").delete_item(
                TableName=wiring.table,
                Key={"id": {"S": str(uuid.uuid4())}},
                ConditionExpression=_IMPOSSIBLE,
            )
    except AwsError as error:
        if error.code == "ConditionalCheckFailedException":
            return WriteRight(True, _WRITE, f"This role may write to table {wiring.table}.")
        if errors.is_denied(error) and not isinstance(error, CredentialsError):
            return WriteRight(False, _WRITE, f"This role may not write to table {wiring.table}: it needs {_WRITE}.")
        raise
    return WriteRight(None, _WRITE, f"Table {wiring.table} takes a write under a condition that cannot hold.")


def _through_api(aws: Aws, wiring: Wiring) -> WriteRight:
    url = aws.settings.graphql_url or wiring.graphql_url
    if not url:
        return WriteRight(None, ACTION, "The API is not known. Set graphql_url.")
    api = Api(aws, url, aws.settings.api_key, versioned=wiring.versioned)
    try:
        api.get(str(uuid.uuid4()))
    except AwsError as error:
        # A mutation would be refused in the same way; that the query passes does not prove the mutation does.
        if isinstance(error, CredentialsError) or error.code == "Unauthorized":
            return WriteRight(False, ACTION, str(error))
        raise
    return WriteRight(True, ACTION, "The API answers getUser, so it probably takes the mutations too.")

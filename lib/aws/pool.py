"""The accounts of the user pool."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pyarrow as pa

from lib.aws import bulk
from lib.aws.session import Aws
from lib.model import ACCOUNTS, AwsError, Progress, Read, email_key, now

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Cells = tuple[Any, ...]


def read_accounts(aws: Aws, progress: Progress | None = None) -> Read:
    """Return every account of the pool, columns as in ``model.ACCOUNTS``.

    What AWS refuses or fails in ends the read: the source then says why, and the table holds what came before.
    """
    started_at = now()
    pace = bulk.Pace(aws.settings.list_users_rps)
    pool = aws.settings.user_pool_id

    def ask(token: str | None) -> bytes:
        pace.wait()
        following = {"PaginationToken": token} if token else {}
        with aws.calling(f"list the accounts of pool {pool}", action="cognito-idp:ListUsers"):
            # No AttributesToGet: Cognito then fails when a single user lacks one of them.
            return bulk.body(aws.client("cognito-idp").list_users(UserPoolId=pool, Limit=60, **following))

    def take(page: dict[str, Any]) -> tuple[list[_Cells], int]:
        users = page["Users"]
        return [_cells(user, user.get("Attributes")) for user in users], len(users)

    tally = bulk.Tally("accounts", progress)
    chain = bulk.read_chain(ask, take, records="Users", following="PaginationToken", source="accounts", tally=tally)
    # One token chain never repeats a user; keyed by name all the same, so that no pairing ever sees one twice.
    accounts = {cells[0]: cells for part in chain.parts for cells in part}
    return Read(_table(accounts.values()), bulk.source_of(started_at, len(accounts), chain))


def account(aws: Aws, username: str) -> dict[str, Any] | None:
    """Return one account as of this moment, keys as in ``model.ACCOUNTS``, or None when there is none.

    AWS may bill the user as active this month: ask for one account at a time, never for a pool.
    """
    pool = aws.settings.user_pool_id
    try:
        with aws.calling(f"read an account of pool {pool}", action="cognito-idp:AdminGetUser"):
            user = aws.client("cognito-idp").admin_get_user(UserPoolId=pool, Username=username)
    except AwsError as error:
        if error.code == "UserNotFoundException":
            return None
        raise
    cells = _cells(bulk.without_surrogates(user), bulk.without_surrogates(user.get("UserAttributes")))
    found: dict[str, Any] = _table([cells]).to_pylist()[0]
    return found


def found(aws: Aws, attribute: str, value: str) -> dict[str, Any] | None:
    """Return the first account with this `sub` or `email`, keys as in ``model.ACCOUNTS``, or None.

    ListUsers is eventually consistent; of a name that is no username it alone can tell (AdminGetUser finds a federated
    account by its username only).
    """
    if not value:
        # An empty filter would list everyone.
        return None
    pool, escaped = aws.settings.user_pool_id, value.replace("\\", "\\\\").replace('"', '\\"')
    following: dict[str, str] = {}
    while True:
        with aws.calling(f"look for an account of pool {pool}", action="cognito-idp:ListUsers"):
            page = bulk.decoded(
                bulk.body(
                    aws.client("cognito-idp").list_users(
                        UserPoolId=pool, Filter=f'{attribute} = "{escaped}"', Limit=1, **following
                    )
                )
            )
        if page["Users"]:
            user = page["Users"][0]
            return dict(_table([_cells(user, user.get("Attributes"))]).to_pylist()[0])
        last, following = following, {"PaginationToken": page.get("PaginationToken") or ""}
        if not following["PaginationToken"]:
            return None
        if following == last:
            raise AwsError(
                f"Cannot look for an account of pool {pool}: AWS gives the same page again and again. Try again later.",
                action="cognito-idp:ListUsers",
                code="RepeatedToken",
            )


def describe(aws: Aws) -> dict[str, Any]:
    """Return what AWS says of the pool itself (DescribeUserPool)."""
    pool = aws.settings.user_pool_id
    with aws.calling(f"describe pool {pool}", action="cognito-idp:DescribeUserPool"):
        return dict(aws.client("cognito-idp").describe_user_pool(UserPoolId=pool)["UserPool"])


def _table(accounts: Iterable[_Cells]) -> pa.Table:
    columns = list(zip(*accounts, strict=True)) or [()] * len(ACCOUNTS)
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, ACCOUNTS, strict=True)], ACCOUNTS)


def _cells(user: Mapping[str, Any], listed: list[dict[str, str]] | None) -> _Cells:
    attributes = {attribute["Name"]: attribute.get("Value") for attribute in listed or ()}
    email = attributes.get("email") or None
    status = user.get("UserStatus")
    return (
        user["Username"],
        attributes.get("sub"),
        email,
        email_key(email),
        {"true": True, "false": False}.get((attributes.get("email_verified") or "").lower()),
        status,
        user.get("Enabled"),
        _provider(user["Username"], status, attributes.get("identities")),
        _milliseconds(user.get("UserCreateDate")),
        _milliseconds(user.get("UserLastModifiedDate")),
        orjson.dumps(attributes, option=orjson.OPT_SORT_KEYS).decode(),
    )


def _provider(username: str, status: str | None, identities: str | None) -> str | None:
    """Return the identity provider of a federated account: the primary identity's, else the username's prefix."""
    listed = _identities(identities)
    # Cognito itself writes `primary` as text in places.
    primary = [identity for identity in listed if str(identity.get("primary")).lower() == "true"] or listed
    named = str(primary[0].get("providerName") or "") if primary else ""
    if not named and status == "EXTERNAL_PROVIDER" and "_" in username:
        named = username.partition("_")[0]
    return named or None


def _identities(text: str | None) -> list[dict[str, Any]]:
    if not text:
        return []
    try:
        listed = bulk.decoded(text.encode())
    except ValueError:
        return []
    return [identity for identity in listed if isinstance(identity, dict)] if isinstance(listed, list) else []


def _milliseconds(date: float | datetime | None) -> int | None:
    if date is None:
        return None
    if isinstance(date, datetime):
        return (date - _EPOCH) // timedelta(milliseconds=1)
    # By way of whole microseconds, as botocore does it: a float just below a millisecond is that millisecond.
    return round(date * 1_000_000) // 1000

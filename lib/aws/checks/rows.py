"""The checks of the API, its key, the data source and the table behind it."""

import re
from datetime import timedelta
from functools import partial
from urllib.parse import urlsplit

from lib.aws import api, keys
from lib.aws.checks.check import Check, Link, Look
from lib.aws.functions import API_ID, API_URL
from lib.aws.graphql import Api
from lib.aws.session import Aws
from lib.display import counted
from lib.model import NotReadable, moment, now

ENVIRONMENT = Link("environment", "Function environment", "The trigger writes rows elsewhere, or none at all.")
API = Link("api", "GraphQL API", "Rows cannot be repaired through AppSync.")
KEY = Link("api_key", "API key", "Every sign-up without a valid key loses its row.")
SOURCE = Link("data_source", "Data source", "The API writes rows elsewhere than where they are looked for.")
TABLE = Link("table", "User table", "Rows cannot be read, so no snapshot is complete.")
VERSIONS = Link("versions", "Row versions", "DataStore clients and Amplify Studio do not see these rows.")
PROTECTION = Link("protection", "Protection", "A deletion by mistake could not be taken back.")

_KEY_SOON = timedelta(days=2)


def environment(look: Look) -> Check:
    """Whether the function's variables lead to this environment's API, with a key of it."""
    look.variables()
    ids, secrets = _values(look, API_ID), _secrets(look)
    urls = {url for each in look.functions() for url in each.urls()} | _values(look, API_URL)
    if not ids | urls:
        return _without_api(look)
    api_id = look.api_id()
    deploy = "Set the variable to this environment's API and deploy the function (with Amplify: `amplify push`)."
    for other in ids - {api_id}:
        cause = f"It names API {other}; this environment's is {api_id}."
        return ENVIRONMENT.problem("The function writes to another API", cause, deploy)
    for other in urls - {_own_url(look), look.wiring.graphql_url}:
        cause = f"It calls {_host(other)}, which is no endpoint of API {api_id}."
        return ENVIRONMENT.problem("The function writes to another API", cause, deploy)
    if not {keys.digest(each) for each in secrets} <= look.digests():
        cause = f"The key in it is none of API {api_id} (an expired one is forgotten after {keys.KEPT.days} days)."
        fix = "Create a key and deploy the function with it (with Amplify: `amplify update api`, then `amplify push`)."
        return ENVIRONMENT.problem("The function's API key is not this API's", cause, fix)
    return ENVIRONMENT.ok("The function calls this environment's API", "with its own key" if secrets else "signed")


def api_answers(look: Look) -> Check:
    """Whether the API is there and lets us in."""
    url = look.wiring.graphql_url
    if url:
        Api(look.aws, url, look.aws.settings.api_key).execute("query { __typename }")
        return API.ok("GraphQL API answers", url)
    if look.wiring.api_id:
        _own_url(look)
        return API.ok("GraphQL API answers", look.wiring.api_id)
    if look.aws.settings.writer == "dynamodb" or _writes_itself(look):
        return API.ok("No GraphQL API is needed", "rows are written to the table itself")
    fix = 'Set graphql_url, or writer = "dynamodb".'
    return API.warning("GraphQL API not known", "It is not configured and was not found.", fix)


def api_key(look: Look) -> Check:
    """Whether the trigger's key is valid, for how long, and what is lost without it."""
    expiries = [at for key in look.wiring.keys if (at := moment(key["expires_at"]))]
    if not expiries:
        look.variables()
        if _secrets(look):
            look.digests()  # raises where they cannot be listed, which is why none is known then
            raise NotReadable("The key in the function's environment is not among those that the API lists")
        return KEY.ok("The function needs no API key")
    # Where it is not known which one is used, the last to expire: the trigger may be as well off as that.
    at = max(expiries)
    left = at - now()
    stake = look.seen.sign_ups_a_day
    if left < timedelta():
        cause = f"It expired {_days(-left)} ago; AppSync refuses it, and many triggers hide that error."
        lost = f"At the current rate {stake} are lost." if stake else ""
        return KEY.problem(f"API key expired on {at:%Y-%m-%d %H:%M} UTC", f"{cause} {lost}".strip(), _EXTEND)
    lost = f"Then {stake} would be lost at the current rate." if stake else ""
    title = f"API key expires in {_days(left)}, on {at:%Y-%m-%d %H:%M} UTC"
    if left < _KEY_SOON:
        return KEY.warning(title, f"AppSync refuses a key from the hour it expires. {lost}".strip(), _EXTEND)
    return KEY.ok(title, lost)


def data_source(look: Look) -> Check:
    """Whether the API's data source leads to the very table that is read."""
    name, sources = look.table(), api.data_sources(look.aws, look.api_id())
    for source in sources:
        if source.table == name:
            return SOURCE.ok("The API writes to the table", source.name)
    cause = f"None of its {counted(len(sources), 'table')} is {name}."
    return SOURCE.problem("The API does not write to the table", cause, "Set table to the one that the API writes to.")


def table_answers(look: Look) -> Check:
    """Whether the table is there, in use, and keyed as rows are matched."""
    if not look.wiring.table:
        return TABLE.warning("User table not known", "It is not configured and was not found.", "Set table.")
    facts = look.table_facts()
    if facts.status not in ("ACTIVE", "UPDATING"):
        raise NotReadable(f"Table {facts.name} is {facts.status or 'in no state'}. Wait, or correct table.")
    return TABLE.ok("User table answers", facts.name)


def versions(look: Look) -> Check:
    """Whether every row of a versioned table carries its version."""
    if not look.wiring.versioned:
        return VERSIONS.ok("Rows are not versioned", "no conflict detection")
    count = look.seen.unversioned_rows
    if count is None:
        return VERSIONS.unknown("No snapshot has counted the rows without a version yet.", "Refresh.")
    if count:
        cause = "Something wrote them past AppSync, which adds _version."
        fix = "Repair them on Accounts (situation: unversioned row)."
        return VERSIONS.warning(f"{counted(count, 'row')} without a version", cause, fix)
    return VERSIONS.ok("Every row carries its version", "conflict detection")


def protection(look: Look) -> Check:
    """Whether pool and table are safe from a deletion by mistake. Advice: nothing is broken without it."""
    off = []
    if look.pool().get("DeletionProtection") != "ACTIVE":
        off.append("the pool's deletion protection")
    if not look.table_facts().deletion_protected:
        off.append("the table's deletion protection")
    if not _recoverable(look.aws, look.table()):
        off.append("the table's point-in-time recovery")
    if off:
        title = "Pool and table are not fully protected"
        return PROTECTION.warning(
            title, f"Advice: off are {_and(off)}.", "Switch them on; deletion protection is free."
        )
    return PROTECTION.ok("Pool and table are protected", "deletion protection, point-in-time recovery")


_EXTEND = "Extend the key (dashboard, Wiring), or create a new one and deploy the function with it."


def _writes_itself(look: Look) -> bool:
    """Return whether the trigger's environment names the table."""
    if not (look.wiring.functions and look.wiring.table):
        return False
    return any(look.wiring.table in {*each.tables(), *(each.variables or {}).values()} for each in look.functions())


def _without_api(look: Look) -> Check:
    if look.wiring.table and _writes_itself(look):
        return ENVIRONMENT.ok("The function writes to the table itself", look.wiring.table)
    cause = "The function's environment names neither an API nor the table, so where it writes cannot be told."
    return ENVIRONMENT.unknown(cause, "Look into its code.")


def _values(look: Look, pattern: re.Pattern[str]) -> set[str]:
    return {value for each in look.functions() for value in each.values(pattern)}


def _secrets(look: Look) -> set[str]:
    return {secret for each in look.functions() for secret in each.secrets()}


def _own_url(look: Look) -> str | None:
    return look.once("api", partial(api.described, look.aws, look.api_id())).url


def _recoverable(aws: Aws, table: str) -> bool:
    """Return whether the table can be restored to any moment of the last days."""
    with aws.calling(f"read the backups of table {table}", action="dynamodb:DescribeContinuousBackups"):
        backups = aws.client("dynamodb").describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    recovery = backups.get("PointInTimeRecoveryDescription") or {}
    return bool(recovery.get("PointInTimeRecoveryStatus") == "ENABLED")


def _days(length: timedelta) -> str:
    if length < timedelta(days=1):
        return counted(max(int(length / timedelta(hours=1)), 1), "hour")
    return counted(length.days, "day")


def _host(url: str) -> str:
    return urlsplit(url).hostname or "no URL"


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

"""Whether each link of the chain answers, and is set up so that rows are written and can be judged."""

from collections.abc import Mapping
from typing import Any

from lib.aws.checks import log, rows, trigger
from lib.aws.checks.check import STATUSES, Check, Judge, Link, Look, Runs, Seen
from lib.aws.session import Aws
from lib.model import AwsError, ConfigError, NotReadable, Wiring

__all__ = ["STATUSES", "Check", "Runs", "Seen", "probe"]

_PERMISSIONS = Link("permissions", "Permissions", "What this role may not read stays unknown.")

# Of each link itself, along the chain.
_LINKS: tuple[tuple[Link, Judge], ...] = (
    (trigger.IDENTITY, trigger.identity),
    (trigger.POOL, trigger.pool),
    (trigger.FUNCTION, trigger.function_state),
    (rows.API, rows.api_answers),
    (rows.TABLE, rows.table_answers),
    (log.GROUP, log.group),
)
# Of how the links are set up.
_SETUPS: tuple[tuple[Link, Judge], ...] = (
    (trigger.TRIGGER, trigger.trigger),
    (trigger.RUNTIME, trigger.runtime),
    (trigger.PERMISSION, trigger.invoke_permission),
    (trigger.TIME_OUT, trigger.time_out),
    (rows.ENVIRONMENT, rows.environment),
    (rows.KEY, rows.api_key),
    (rows.SOURCE, rows.data_source),
    (rows.VERSIONS, rows.versions),
    (rows.PROTECTION, rows.protection),
    (log.RETENTION, log.retention),
    (log.FORMAT, log.log_format),
    (log.METRICS, log.metrics),
)


def probe(aws: Aws, wiring: Wiring, seen: Seen | None = None, known: Mapping[object, Any] | None = None) -> list[Check]:
    """Ask every link of the chain for something small, and return one check each, the worst first. Reads only.

    ``seen`` is what the latest snapshot knows; what only that can tell is unknown without it. ``known`` are the facts
    that a ``Chain`` found a moment ago: they are not read again.
    """
    look = Look(aws, wiring, seen or Seen(), known or {})
    links = [link.judged(look, judge, itself=True) for link, judge in _LINKS]
    setups = [link.judged(look, judge) for link, judge in _SETUPS if link not in _needless(look)]
    checks = [*links, *setups]
    checks.append(_permissions(look))
    return sorted(checks, key=lambda check: STATUSES.index(check.status))


def _needless(look: Look) -> tuple[Link, ...]:
    """Return the links that a chain without an API has not; where its environment is closed there may be one."""
    wiring = look.wiring
    if not wiring.functions or wiring.api_id or wiring.graphql_url:
        return ()
    try:
        look.variables()
    except (AwsError, NotReadable, ConfigError):
        return ()
    return (rows.KEY, rows.SOURCE)


def _permissions(look: Look) -> Check:
    if not look.denied:
        return _PERMISSIONS.ok("This role may read all that was asked")
    actions = ", ".join(sorted(look.denied))
    return _PERMISSIONS.warning(
        "This role may not read everything",
        f"AWS denies it {actions}.",
        "Attach the policy that `python -m lib policy` prints.",
    )

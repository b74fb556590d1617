"""The verdict on one snapshot, for cron and alerts."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from lib.display import counted
from lib.model import ACCEPTED, SITUATIONS
from lib.snapshot import Snapshot
from lib.views.trends import BY_WEIGHT

_SILENT = ("silent_failure", "api_key_expired")


def verdict(snapshot: Snapshot, *, limit: int = 0, fail_on: Collection[str] = ()) -> dict[str, Any]:
    """Return the contract's ``check --json`` object.

    A finding counts unless a person accepted it, or ``fail_on`` names situations and its own is not among them.
    ``ok`` is false on an incomplete or suspicious snapshot: what was not read is not in sync.
    """
    findings = snapshot.table("findings").select(["situation", "cause", "notes"]).to_pylist()
    open_ones = [finding for finding in findings if ACCEPTED not in (finding["notes"] or ())]
    counted = [finding for finding in open_ones if not fail_on or finding["situation"] in fail_on]
    manifest = snapshot.manifest
    by_situation = Counter(finding["situation"] for finding in findings)
    by_cause = Counter(finding["cause"] for finding in findings if finding["cause"])
    return {
        "environment": manifest["environment"],
        "snapshot": snapshot.stamp,
        "ok": manifest["complete"] and not manifest["suspicious"] and len(counted) <= limit,
        "complete": manifest["complete"],
        "suspicious": manifest["suspicious"],
        "findings": len(findings),
        "counted": len(counted),
        "limit": limit,
        "by_situation": dict(by_situation.most_common()),
        "by_cause": dict(by_cause.most_common()),
        "worst": _worst(manifest, open_ones, len(findings) - len(open_ones)),
    }


def _worst(manifest: Mapping[str, Any], open_ones: Collection[Mapping[str, Any]], accepted: int) -> str:
    """Return one sentence, the worst news first; of findings only those that nobody has accepted."""
    by_situation = Counter(finding["situation"] for finding in open_ones)
    by_cause = Counter(finding["cause"] for finding in open_ones)
    unread = [f"{name}: {source['why_not']}" for name, source in manifest["sources"].items() if not source["complete"]]
    if unread:
        return f"Not read completely. {' '.join(unread)}"
    if manifest["suspicious"]:
        return f"Suspicious. {' '.join(manifest['reasons'])}"
    if not by_situation and accepted:
        return f"Nothing is open: {counted(accepted, 'finding')} accepted."
    if not by_situation:
        return "In sync: every account has its row, and every row its account."
    lost = sum(by_cause[cause] for cause in _SILENT)
    news = [f"{counted(lost, 'sign-up')} lost in silence"] if lost else []
    news += [
        counted(by_situation[situation], SITUATIONS[situation].lower())
        for situation in BY_WEIGHT
        if by_situation[situation]
    ]
    return f"{', '.join(news)}."

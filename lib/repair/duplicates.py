"""Duplicates are decided by a person: who holds an e-mail, and which of the rows may be deleted. Pure."""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from lib.display import mask_email, mask_emails
from lib.repair.planner import Finding, among

if TYPE_CHECKING:
    from lib.snapshot import Snapshot

_LISTED = 20
_HOLDERS = 10


def chosen(snapshot: "Snapshot", ids: Collection[str]) -> tuple[list[Finding], list[str]]:
    """Return the rows among ``ids`` that share an e-mail and have no account, and why the others are left out."""
    shared = {twin for duplicate in _duplicates(snapshot) for twin in duplicate["twins"]}
    findings, warnings = [], []
    for holder in _holders(snapshot, shared):
        named = not set(ids).isdisjoint((holder["account_id"], holder["sub"], holder["row_id"]))
        if named and holder["situation"] == "orphaned_row":
            findings.append(holder)
        elif named:
            warnings.append(f"{_kept(holder)} is left out: {_why_kept(holder)}.")
    return findings, warnings


def listed(snapshot: "Snapshot") -> Iterator[str]:
    """Yield who holds each shared e-mail, and how the row to delete is named."""
    duplicates = _duplicates(snapshot)
    for duplicate in duplicates[:_LISTED]:
        holders = _holders(snapshot, duplicate["twins"][:_HOLDERS])
        said = "; ".join(_choice(holder) for holder in holders)
        more = len(duplicate["twins"]) - _HOLDERS
        yield (
            f"{mask_email(duplicate['email'])} has {len(duplicate['twins'])} holders, of which a person chooses: {said}"
            + (f"; and {more} more." if more > 0 else ".")
        )
    if len(duplicates) > _LISTED:
        yield f"And {len(duplicates) - _LISTED} more duplicates: `python -m lib findings --situation duplicate`."


def _duplicates(snapshot: "Snapshot") -> list[dict[str, Any]]:
    findings = snapshot.table("findings")
    found: list[dict[str, Any]] = findings.filter(among(findings["situation"], ["duplicate"])).to_pylist()
    return found


def _holders(snapshot: "Snapshot", twins: Collection[str]) -> list[Finding]:
    pairs = snapshot.table("pairs")
    lines = [
        line
        for name in ("account_id", "row_id")
        for line in pairs.filter(among(pairs[name], twins)).to_pylist()
        if name == "account_id" or line["account_id"] is None
    ]
    return sorted(lines, key=lambda line: (line["account_id"] is None, line["account_id"] or line["row_id"]))


def _choice(holder: Finding) -> str:
    if holder["situation"] == "orphaned_row":
        return f"row {mask_emails(holder['row_id'])} without an account (delete it with --id)"
    return f"{_kept(holder)} (stays: {_why_kept(holder)})"


def _kept(holder: Finding) -> str:
    name = mask_emails(holder["sub"] or holder["account_id"] or holder["row_id"])
    return f"account {name}" if holder["account_id"] else f"row {name}"


def _why_kept(holder: Finding) -> str:
    if holder["row_id"] is None:
        return "it has no row; accounts are never deleted here"
    if holder["account_id"] is None:
        return f"its row is {holder['situation']}"
    return "its row belongs to a living account, which would be an orphaned account without it"

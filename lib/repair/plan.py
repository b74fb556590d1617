"""What a repair would write, step by step, and what it would cost. Pure: nothing is written but the plan's own file."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from lib.aws.api_type import ApiType
from lib.config import Settings
from lib.display import mask_emails
from lib.model import ACCEPTED, ConfigError, Refused, iso, now
from lib.output import write_private
from lib.repair import derived, duplicates, notes, replay, shown
from lib.repair.planner import ACTIONS, Finding, Planner, Terms, among
from lib.repair.step import Step

if TYPE_CHECKING:
    from lib.snapshot import Snapshot

__all__ = ["DEFAULT_SITUATIONS", "Plan", "Step", "plan"]

DEFAULT_SITUATIONS = ("orphaned_account", "drift")
SMALL = 10
"""The percentage threshold is for plans of more steps than this."""

_FORMAT = 1
_CLICKED = 25  # more creates or updates than this are typed, not clicked
_ORDER = list(ACTIONS)


@dataclass(frozen=True)
class Plan:
    """A value: steps, bound to the snapshot they were planned on and to the pool, table and API they are for."""

    environment: str
    pool: str
    region: str
    table: str
    api: str | None
    writer: str
    versioned: bool
    correlation: str
    snapshot: str
    digest: str
    at: datetime
    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    over_threshold: bool = False
    accepted: bool = False
    undo_of: str | None = None

    @property
    def must_be_typed(self) -> bool:
        """Whether a person confirms it by typing the count: it deletes, replays, is large or over a threshold."""
        is_grave = any(step.deletes or step.replays for step in self.steps)
        return is_grave or self.over_threshold or len(self.steps) > _CLICKED

    @property
    def cost(self) -> dict[str, int]:
        """Return the AdminGetUser calls (AWS may count each user as active this month) and the writes."""
        return {"admin_get_user": sum(bool(step.account) for step in self.steps), "writes": len(self.steps)}

    def to_json(self) -> str:
        """Return the plan as JSON; ``from_json`` gives back an equal one."""
        return json.dumps(self._content() | {"sha256": self.sha256()}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """Return the plan that ``to_json`` wrote; raise ``ConfigError`` for no plan, ``Refused`` for an edited one."""
        try:
            content = json.loads(text)
            if content.pop("plan") != _FORMAT:
                raise ConfigError("This plan was written by another version of Pooltable. Plan again.")
            del content["cost"]
            digest = content.pop("sha256")
            steps = tuple(Step(**step) for step in content.pop("steps"))
            texts = {name: tuple(content.pop(name)) for name in ("warnings", "notes")}
            plan = cls(**content | {"at": datetime.fromisoformat(content["at"]), "steps": steps} | texts)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(
                "This is no plan, or not a whole one. Write it again with: python -m lib plan."
            ) from error
        if plan.sha256() != digest:
            raise Refused("Nothing was written: the plan was changed after it was made. Plan again.")
        return plan

    def save(self, path: Path) -> None:
        """Write the plan to a file for its owner only, whole or not at all."""
        write_private(path, self.to_json().encode())

    @classmethod
    def load(cls, path: Path) -> "Plan":
        """Return the plan in a file; raise ``ConfigError`` where there is none, ``Refused`` for that of an undo."""
        try:
            plan = cls.from_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"Cannot read the plan {path}: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path} is no plan.") from error
        if plan.undo_of:
            # A file's word for it would do away with the threshold.
            raise Refused("An undo is made from the journal, never from a file: python -m lib undo RUN_ID.")
        return plan

    def sha256(self) -> str:
        """Return the plan's own digest."""
        return hashlib.sha256(json.dumps(self._content()).encode()).hexdigest()

    def _content(self) -> dict[str, Any]:
        return {"plan": _FORMAT} | asdict(self) | {"at": iso(self.at), "cost": self.cost}

    def text(self, limit: int | None = None) -> str:
        """Return the plan for a person to read, e-mails masked; at most ``limit`` steps of it."""
        return shown.text(self, limit)

    def __repr__(self) -> str:
        return shown.text(self, shown.SHOWN)

    def _repr_html_(self) -> str:
        return shown.html(self)

    def aws_cli(self, step: Step) -> str:
        """Return the same write as a command of the AWS CLI, quoted for a POSIX shell."""
        return shown.aws_cli(self, step)


def plan(
    snapshot: "Snapshot",
    settings: Settings,
    *,
    situations: Collection[str] | None = None,
    causes: Collection[str] | None = None,
    ids: Collection[str] | None = None,
    accepted: bool = False,
    at: datetime | None = None,
    known: ApiType | None = None,
    asked: bool = False,
    own_tombstones: Callable[[Collection[str]], Collection[str]] = lambda _rows: (),
    replays: bool = False,
) -> Plan:
    """Return the steps that repair the chosen findings: the row takes the account's values, never the reverse.

    ``ids`` are Usernames, subs or row ids; ``accepted`` says that a person has accepted a suspicious snapshot;
    ``known`` is the API's type where it was ``asked`` and told; ``own_tombstones`` tells which of some rows Pooltable
    itself soft-deleted. With ``replays`` the trigger is run again for orphaned accounts, and no row written.
    Raises ``Refused`` when the snapshot gives no plan. Nothing to repair is a plan without steps.
    """
    _refuse_unfit(snapshot, accepted)
    draft = _draft(snapshot, settings, accepted, at or now())
    chosen, warnings = _chosen(snapshot, ("orphaned_account",) if replays else situations, causes, ids)
    terms = Terms(draft.writer, draft.versioned, draft.correlation, known)
    planner = Planner(snapshot, settings, terms, chosen, named=ids or ())
    steps = replay.replayed(planner.steps(), snapshot) if replays else planner.steps()
    handler = snapshot.wiring.conflict_handler
    warnings += [*planner.warnings, *_doubts(draft, steps, handler)]
    over = threshold(records(snapshot), settings, len(steps))
    said = [
        *replay.notes(steps),
        *notes.of_steps(steps, versioned=draft.versioned, own_tombstones=own_tombstones),
        *notes.of_writer(draft, () if replays else steps, handler=handler, known=known, asked=asked),
    ]
    return replace(
        draft,
        steps=steps,
        warnings=(*warnings, over) if over else tuple(warnings),
        notes=tuple(said),
        over_threshold=bool(over),
    )


def api_of(snapshot: "Snapshot", settings: Settings) -> str | None:
    """Return the URL of the API that a plan would be written through, None where it goes to the table."""
    return settings.graphql_url or snapshot.wiring.graphql_url if settings.writer != "dynamodb" else None


def doubt(plan: Plan, snapshot: "Snapshot", settings: Settings) -> str | None:
    """Return why a plan is not what its snapshot and the settings give, None where it is."""
    step = derived.edited(plan, snapshot, settings)
    if step is None:
        return None
    return (
        f"Step {step.number} is not what its snapshot and the settings give: the plan was changed after it was made, "
        "or the settings were. Plan again."
    )


def _refuse_unfit(snapshot: "Snapshot", accepted: bool) -> None:
    manifest = snapshot.manifest
    if not manifest["complete"]:
        unread = [f"{name} ({source['why_not']})" for name, source in manifest["sources"].items() if source["why_not"]]
        raise Refused(
            f"There is no plan from snapshot {snapshot.stamp}: not everything was read: {'; '.join(unread)}. "
            "Put that right and refresh."
        )
    if manifest["suspicious"] and not accepted:
        raise Refused(
            f"There is no plan from snapshot {snapshot.stamp}, which is suspicious: {' '.join(manifest['reasons'])} "
            "Check that pool and table belong together; if all is as it should be, accept it (--accept-suspicious)."
        )
    if not snapshot.wiring.correlation:
        raise Refused(
            f"There is no plan from snapshot {snapshot.stamp}: it is not known how rows are matched to accounts. "
            "Set correlation (username, sub, owner or email) for the environment in pooltable.toml; Wiring shows how "
            "many rows each matches."
        )
    if not snapshot.wiring.table:
        raise Refused("There is no plan: the table is not known. Set table for the environment in pooltable.toml.")


def _draft(snapshot: "Snapshot", settings: Settings, accepted: bool, at: datetime) -> Plan:
    wiring = snapshot.wiring
    api = settings.graphql_url or wiring.graphql_url
    writer = settings.writer or ("appsync" if api else "dynamodb")
    if writer == "appsync" and not api:
        raise Refused(
            'There is no plan: writer is "appsync", but no API is known. Set graphql_url for the environment.'
        )
    return Plan(
        environment=settings.name,
        pool=wiring.pool,
        region=wiring.region,
        table=wiring.table or "",
        api=api if writer == "appsync" else None,
        writer=writer,
        versioned=wiring.versioned,
        correlation=wiring.correlation or "",
        snapshot=snapshot.stamp,
        digest=snapshot.manifest["digest"],
        at=at,
        accepted=accepted,
    )


def _chosen(
    snapshot: "Snapshot",
    situations: Collection[str] | None,
    causes: Collection[str] | None,
    ids: Collection[str] | None,
) -> tuple[list[Finding], list[str]]:
    """Return the findings to repair, in the order of the steps, and what to say of those that are not there."""
    findings = snapshot.table("findings")
    if situations is not None or ids is None:
        findings = findings.filter(among(findings["situation"], situations or DEFAULT_SITUATIONS))
    if causes is not None:
        findings = findings.filter(among(findings["cause"], causes))
    if ids is None:
        # Somebody has judged them: they are repaired only where somebody names them.
        open_ones = [ACCEPTED not in (each or ()) for each in findings["notes"].to_pylist()]
        findings = findings.filter(pa.array(open_ones, pa.bool_()))
    else:
        masks = [among(findings[name], ids) for name in ("account_id", "sub", "row_id")]
        findings = findings.filter(pc.or_(pc.or_(masks[0], masks[1]), masks[2]))
    chosen = [each for each in findings.to_pylist() if each["situation"] != "duplicate"]
    warnings: list[str] = []
    if "duplicate" in (situations or ()) and ids is None:
        warnings += duplicates.listed(snapshot)
    elif "duplicate" in (situations or ()):
        shared, warnings = duplicates.chosen(snapshot, ids or ())
        chosen += [each for each in shared if each not in chosen]
    if not warnings:
        warnings += _not_found(chosen, ids)
    return sorted(chosen, key=_place), warnings


def _place(finding: Finding) -> tuple[int, str]:
    # Whatever the order of the findings, the same plan.
    situation = finding["situation"]
    place = _ORDER.index(situation) if situation in _ORDER else len(_ORDER)
    return place, finding["account_id"] or finding["row_id"] or ""


def _not_found(findings: list[Finding], ids: Collection[str] | None) -> Iterator[str]:
    found = {finding[name] for finding in findings for name in ("account_id", "sub", "row_id")}
    for id in ids or ():
        if id not in found:
            yield f"{mask_emails(id)} is left out: the snapshot has no such finding about it."


def _doubts(draft: Plan, steps: Collection[Step], handler: str | None) -> Iterator[str]:
    """Yield what speaks against trusting the API's answers."""
    is_judged = draft.writer == "appsync" and draft.versioned and any(step.before for step in steps)
    if is_judged and handler in notes.UNCERTAIN_HANDLERS:
        yield f"{notes.UNCERTAIN_HANDLERS[handler]} Each row is compared with what was wanted after its write."


def records(snapshot: "Snapshot") -> int:
    """Return how many accounts or rows a snapshot has, whichever are more: what a threshold is a percentage of."""
    sources = snapshot.manifest["sources"]
    return max(int(sources[name]["count"]) for name in ("accounts", "rows"))


def threshold(records: int, settings: Settings, steps: int) -> str | None:
    """Return why so many steps on so many records need a person's release, None where they do not."""
    percent = settings.max_repair_percent
    release = f"Nothing is applied until a person releases it by its count: --release {steps}."
    if steps > settings.max_repairs:
        return f"{steps} steps are more than max_repairs = {settings.max_repairs}. {release}"
    if steps > SMALL and percent < 100 and steps * 100 > percent * records:
        return f"{steps} steps are more than max_repair_percent = {percent:g} of {records} records. {release}"
    return None

"""What a repair would write, step by step, and what it would cost. Pure: nothing is written but the plan's own file."""

import hashlib
import json
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from lib.aws.rows import plain
from lib.aws.typed import typed
from lib.config import Settings
from lib.display import mask_emails, visible
from lib.model import SITUATIONS, ConfigError, Refused, iso, now
from lib.output import write_private
from lib.repair.row_form import Missing, RowForm, learn
from lib.repair.step import Step, facts, typed_item, version_of

if TYPE_CHECKING:
    from lib.snapshot import Snapshot

__all__ = ["DEFAULT_SITUATIONS", "Plan", "Step", "plan"]

DEFAULT_SITUATIONS = ("orphaned_account", "drift")
SMALL = 10
"""The percentage threshold is for plans of more steps than this."""

_FORMAT = 1
_SHOWN = 20


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
        return "\n".join(visible(mask_emails(line)) for line in self._lines(limit))

    def __repr__(self) -> str:
        return self.text(_SHOWN)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the sentences, and a table of the steps; e-mails masked."""
        head, *_ = self._lines(0)
        steps = [
            {
                "step": step.number,
                "action": step.action,
                "row": mask_emails(step.row_id),
                "after": mask_emails(_image(step.after)),
                "only if": mask_emails(step.condition),
                "why": mask_emails(step.reason),
            }
            for step in self.steps[:_SHOWN]
        ]
        said = "".join(f"<p>{escape(mask_emails(text))}</p>" for text in (head, *self.warnings, *self.notes))
        return said + (pd.DataFrame(steps).to_html(index=False) if steps else "")

    def aws_cli(self, step: Step) -> str:
        """Return the same write as a command of the AWS CLI, quoted for a POSIX shell."""
        return " ".join(shlex.quote(word) for word in _command(self, step))

    def _lines(self, limit: int | None) -> Iterator[str]:
        kind = f"Undo of run {self.undo_of}" if self.undo_of else f"Plan on snapshot {self.snapshot}"
        where = f"on table {self.table} of {self.environment}, written through {self.writer}"
        yield f"{kind}: {len(self.steps)} steps {where}"
        for step in self.steps[:limit]:
            yield f"{step.number:>5} {step.action} {step.row_id} (sub {step.sub or 'unknown'}): {step.reason}"
            yield f"      before     {_image(step.before)}"
            yield f"      after      {_image(step.after)}"
            yield f"      condition  {step.condition}"
        if limit is not None and len(self.steps) > limit:
            yield f"      ... and {len(self.steps) - limit} more"
        yield (
            f"Cost: {self.cost['writes']} writes, {self.cost['admin_get_user']} AdminGetUser calls "
            "(AWS may count each of these users as active this month)"
        )
        yield from (f"Note: {note}" for note in self.notes)


def plan(
    snapshot: "Snapshot",
    settings: Settings,
    *,
    situations: Collection[str] | None = None,
    causes: Collection[str] | None = None,
    ids: Collection[str] | None = None,
    accepted: bool = False,
    at: datetime | None = None,
) -> Plan:
    """Return the steps that repair the chosen findings: the row takes the account's values, never the reverse.

    ``ids`` are Usernames, subs or row ids; ``accepted`` says that a person has accepted a suspicious snapshot.
    Raises ``Refused`` when the snapshot gives no plan. Nothing to repair is a plan without steps.
    """
    _refuse_unfit(snapshot, accepted)
    draft = _draft(snapshot, settings, accepted, at or now())
    chosen = _chosen(snapshot, situations, causes, ids)
    warnings = list(_not_found(chosen, ids))
    planned = _Planner(snapshot, settings, draft, chosen, named=set(ids or ()))
    steps = planned.steps()
    warnings += planned.warnings
    over = threshold(records(snapshot), settings, len(steps))
    return replace(
        draft,
        steps=steps,
        warnings=(*warnings, over) if over else tuple(warnings),
        notes=tuple(_notes(draft, steps)),
        over_threshold=bool(over),
    )


class _Planner:
    """Turns findings into steps; what cannot be one becomes a warning."""

    def __init__(
        self, snapshot: "Snapshot", settings: Settings, draft: Plan, findings: list[dict[str, Any]], named: set[str]
    ) -> None:
        self.warnings: list[str] = []
        self._draft = draft
        self._findings = findings
        self._named = named
        self._accounts = _by(snapshot, "accounts", "username", [each["account_id"] for each in findings])
        drifted = [each["row_id"] for each in findings if each["situation"] == "drift"]
        self._rows = _by(snapshot, "rows", "id", drifted)
        self._form: RowForm | None = None
        if any(each["situation"] == "orphaned_account" for each in findings):
            self._form, learnt = learn(snapshot, settings, draft.correlation)
            self.warnings += learnt

    def steps(self) -> tuple[Step, ...]:
        made = [step for finding in self._offered() if (step := self._step(finding))]
        return tuple(replace(step, number=number) for number, step in enumerate(made, start=1))

    def _step(self, finding: dict[str, Any]) -> Step | None:
        return self._update(finding) if finding["situation"] == "drift" else self._create(finding)

    def _offered(self) -> Iterator[dict[str, Any]]:
        left_out: dict[str, int] = {}
        for finding in self._findings:
            reason = self._why_not(finding)
            if reason:
                left_out[reason] = left_out.get(reason, 0) + 1
            else:
                yield finding
        self.warnings += [f"{count} left out: {reason}." for reason, count in left_out.items()]

    def _why_not(self, finding: dict[str, Any]) -> str | None:
        named = not self._named.isdisjoint((finding["account_id"], finding["sub"], finding["row_id"]))
        if finding["situation"] not in DEFAULT_SITUATIONS:
            return f"repairing {SITUATIONS[finding['situation']].lower()} is not available yet"
        if named:
            return None
        if finding["cause"] == "row_deleted":
            return "the row was there and was deleted, which somebody may have meant; name the account by id to plan it"
        if finding["situation"] == "drift" and not self._accounts[finding["account_id"]]["email_verified"]:
            return "the account's new e-mail is not verified (a way to take over a row); name it by id to plan it"
        return None

    def _create(self, finding: dict[str, Any]) -> Step | None:
        assert self._form is not None
        known = facts(self._accounts[finding["account_id"]])
        try:
            item, used = self._form.row(known)
        except Missing as missing:
            self.warnings.append(f"Account {_name(finding)} is left out: it has no {missing}, which its row needs.")
            return None
        if self._draft.versioned:
            item["_version"] = {"N": "1"}
        return Step(
            number=0,
            action="create_row",
            situation=finding["situation"],
            account_id=finding["account_id"],
            sub=finding["sub"],
            row_id=item["id"]["S"],
            before=None,
            after=item,
            condition="no row has this id (attribute_not_exists(id))",
            reason=finding["reason"] or "",
            account=used,
        )

    def _update(self, finding: dict[str, Any]) -> Step:
        known = facts(self._accounts[finding["account_id"]])
        before = typed_item(self._rows[finding["row_id"]]["item"])
        return Step(
            number=0,
            action="update_row",
            situation=finding["situation"],
            account_id=finding["account_id"],
            sub=finding["sub"],
            row_id=finding["row_id"],
            before=before,
            after=before | {"email": typed(known["email"])},
            condition=_unchanged(self._draft, version_of(before)),
            reason=finding["reason"] or "",
            account={"sub": known["sub"], "email": known["email"]},
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
            "Set correlation for the environment in pooltable.toml."
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
) -> list[dict[str, Any]]:
    findings = snapshot.table("findings")
    if situations is not None or ids is None:
        findings = findings.filter(_among(findings["situation"], situations or DEFAULT_SITUATIONS))
    if causes is not None:
        findings = findings.filter(_among(findings["cause"], causes))
    if ids is not None:
        masks = [_among(findings[name], ids) for name in ("account_id", "sub", "row_id")]
        findings = findings.filter(pc.or_(pc.or_(masks[0], masks[1]), masks[2]))
    # Whatever the order of the findings, the same plan.
    return sorted(findings.to_pylist(), key=lambda each: (each["situation"] == "drift", each["account_id"] or ""))


def _among(column: pa.ChunkedArray, values: Iterable[str]) -> pa.ChunkedArray:
    return pc.fill_null(pc.is_in(column, value_set=pa.array(list(values), pa.string())), False)


def _by(snapshot: "Snapshot", table: str, key: str, ids: Iterable[str | None]) -> dict[str, dict[str, Any]]:
    wanted = [id for id in ids if id is not None]
    if not wanted:
        return {}
    records = snapshot.table(table)
    return {record[key]: record for record in records.filter(_among(records[key], wanted)).to_pylist()}


def _not_found(findings: list[dict[str, Any]], ids: Collection[str] | None) -> Iterator[str]:
    found = {finding[name] for finding in findings for name in ("account_id", "sub", "row_id")}
    for id in ids or ():
        if id not in found:
            yield f"{mask_emails(id)} is left out: the snapshot has no such finding about it."


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


def _notes(draft: Plan, steps: Collection[Step]) -> Iterator[str]:
    creates = any(step.action == "create_row" for step in steps)
    updates = any(step.action == "update_row" for step in steps)
    if creates and draft.versioned and draft.writer == "appsync":
        yield "Undoing a created row leaves AppSync's tombstone in its place, as the table is versioned."
    if draft.versioned and draft.writer == "dynamodb" and steps:
        yield "A direct write reaches DataStore clients only at their next base sync; AppSync would tell them at once."
    if updates and draft.writer == "appsync":
        yield (
            "AppSync can only be asked to hold the fields of its schema: each row is re-read immediately before the "
            "write, and the record that comes back is compared."
        )


def _unchanged(draft: Plan, version: int | None) -> str:
    if draft.writer == "dynamodb":
        return "every attribute is as it was read"
    held = "email is as it was read"
    return f"_version = {version} and {held}" if draft.versioned else held


def _name(finding: Mapping[str, Any]) -> str:
    return mask_emails(finding["sub"] or finding["account_id"])


def _image(item: Mapping[str, Any] | None) -> str:
    return json.dumps(plain(dict(item)), default=str, ensure_ascii=False) if item is not None else "no row"


def _command(plan: Plan, step: Step) -> Iterator[str]:
    wanted = step.wanted(step.before, plan.at)
    where = ("--table-name", plan.table, "--region", plan.region)
    if step.before is None:
        yield from ("aws", "dynamodb", "put-item", *where, "--item", json.dumps(wanted))
        yield from ("--condition-expression", "attribute_not_exists(id)")
        return
    verb = "delete-item" if wanted is None else "update-item"
    yield from ("aws", "dynamodb", verb, *where, "--key", json.dumps({"id": step.before["id"]}))
    names = {f"#{place}": name for place, name in enumerate(dict.fromkeys([*step.before, *(wanted or {})]))}
    alias = {name: place for place, name in names.items()}
    values = {f":before{alias[name][1:]}": value for name, value in step.before.items()}
    if wanted is not None:
        changed = [name for name in wanted if wanted[name] != step.before.get(name)]
        values |= {f":after{alias[name][1:]}": wanted[name] for name in changed}
        gone = [alias[name] for name in step.before if name not in wanted]
        sets = "SET " + ", ".join(f"{alias[name]} = :after{alias[name][1:]}" for name in changed)
        yield from ("--update-expression", sets + (f" REMOVE {', '.join(gone)}" if gone else ""))
    yield from (
        "--condition-expression",
        " AND ".join(f"{alias[name]} = :before{alias[name][1:]}" for name in step.before),
    )
    yield from ("--expression-attribute-names", json.dumps(names))
    yield from ("--expression-attribute-values", json.dumps(values))

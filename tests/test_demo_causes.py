"""What a refresh makes of the demo is what its generator knows, and no more than its evidence says."""

from datetime import timedelta

import numpy as np
import pytest
from demo_kit import confusion, subject, verdicts

from lib import reconcile
from lib.config import load
from lib.environment import Environment
from lib.model import CAUSES, iso, moment

TABLES = ("accounts", "rows", "invocations", "seen")
OVERWRITTEN, RESET = "overwritten_by_password_reset", "PostConfirmation_ConfirmForgotPassword"
WITHOUT_LOG = {
    "orphaned_account": {"logs_unavailable", "row_deleted"},
    "orphaned_row": {"unknown", "account_deleted"},
}


@pytest.fixture(scope="module")
def snapshot(world):
    return Environment(load(), world.settings()).refresh()


def test_every_verdict_on_the_demo_stands_on_the_diagonal(world, snapshot):
    told = verdicts(world, snapshot)
    off = told[told["truth"] != told["found"]]
    assert off.empty, off.to_string()
    matrix = confusion(told)
    assert list(matrix.index) == list(matrix.columns)
    assert np.count_nonzero(matrix.to_numpy()) == len(matrix)
    causes = {name.partition("/")[2] for name in matrix.index} - {""}
    assert causes == set(CAUSES) - {"row_deleted", "account_deleted"}


def test_the_twins_of_each_duplicate_are_those_that_were_made(world, snapshot):
    started = moment(snapshot.manifest["sources"]["accounts"]["started_at"])
    made = world.truth(started).query("situation == 'duplicate'")
    pairs = {subject(pair): pair for pair in snapshot.table("pairs").to_pylist()}
    assert len(made) > 0
    for line in made.to_dict("records"):
        assert pairs["email", line["id"]]["twins"] == line["twins"]


def test_the_rows_noted_as_overwritten_are_those_whose_password_reset_put_them_anew(world, snapshot):
    made = set(world.truth().query("overwritten")["id"])
    noted = [pair for pair in snapshot.table("pairs").to_pylist() if OVERWRITTEN in (pair["notes"] or ())]
    assert len(made) > 0
    assert {pair["account_id"] for pair in noted} == made
    runs = {run["request_id"]: run for run in snapshot.table("invocations").to_pylist()}
    for pair in noted:
        (request_id,) = pair["request_ids"]
        assert (runs[request_id]["trigger_source"], runs[request_id]["username"]) == (RESET, pair["account_id"])
        assert pair["row_created_at"] - pair["account_created_at"] > timedelta(days=1)


def judged(snapshot, manifest, *, without_log):
    tables = {name: snapshot.table(name) for name in TABLES}
    if without_log:
        tables["invocations"] = tables["invocations"].slice(0, 0)
    return reconcile.reconcile(**tables, manifest=manifest).to_pylist()


def moved(manifest):
    """The log evidence begins only after everything happened."""
    after = moment(manifest["started_at"]) + timedelta(seconds=1)
    return manifest | {"wiring": manifest["wiring"] | {"log_from": iso(after)}}


def unread(manifest):
    log = manifest["sources"]["invocations"] | {"complete": False, "why_not": "AccessDenied"}
    return manifest | {"sources": manifest["sources"] | {"invocations": log}}


@pytest.mark.parametrize("taken_away", [moved, unread])
def test_without_the_log_s_evidence_every_cause_is_an_honest_unknown(snapshot, taken_away):
    before = judged(snapshot, snapshot.manifest, without_log=False)
    after = judged(snapshot, taken_away(snapshot.manifest), without_log=True)
    situations = {subject(pair): pair["situation"] for pair in before}
    assert {subject(pair): pair["situation"] for pair in after} == situations
    for pair in after:
        assert pair["cause"] in WITHOUT_LOG.get(pair["situation"], {None}), pair
        if pair["cause"] in ("logs_unavailable", "unknown"):
            assert (pair["evidence"], pair["request_ids"]) == ("unknown", [])
    told = {pair["reason"] for pair in after if pair["cause"] == "logs_unavailable"}
    assert told == {"No row was found; the log that was read does not cover the account's creation."}


def test_removing_only_what_is_older_takes_the_causes_of_the_older_accounts_alone(snapshot):
    starts = sorted(start for start in snapshot.table("invocations")["started_at"].to_pylist() if start)
    middle = starts[len(starts) // 2]
    late = snapshot.manifest | {"wiring": snapshot.manifest["wiring"] | {"log_from": iso(middle)}}
    before = {subject(pair): pair for pair in judged(snapshot, snapshot.manifest, without_log=False)}
    unknown = 0
    for pair in judged(snapshot, late, without_log=False):
        if pair["cause"] == "logs_unavailable":
            assert pair["account_created_at"] < moment(iso(middle))
            unknown += 1
        elif pair["situation"] == "orphaned_account":
            assert pair["cause"] == before[subject(pair)]["cause"]
    assert unknown > 0

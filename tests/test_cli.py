"""The command line as other programs rely on it: what it prints where, and how it exits."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from lib.cli import main
from lib.demo.world import World
from lib.model import ACCOUNTS, FINDINGS, INVOCATIONS, ROWS

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "refresh", "check", "findings", "accounts", "rows", "invocations", "plan", "apply", "undo", "runs", "accept",
    "forget", "wiring", "policy", "init", "reconcile", "demo",
}  # fmt: skip


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def told(*arguments: str) -> list | dict:
    shown = run(*arguments)
    assert not shown.exception or isinstance(shown.exception, SystemExit), shown.exception
    return json.loads(shown.stdout)


@pytest.fixture(scope="module")
def read(world):
    assert run("refresh").exit_code == 0
    return world


def planned(tmp_path: Path, *arguments: str) -> Path:
    file = tmp_path / "plan.json"
    shown = run("plan", *arguments, "-o", str(file))
    assert shown.exit_code == 0, shown.output
    return file


def test_every_command_of_the_contract_is_there_and_in_the_readme():
    assert set(main.commands) == COMMANDS
    readme = (ROOT / "README.md").read_text()
    assert [command for command in COMMANDS if f"{command}" not in readme] == []


def test_reconcile_on_spark_says_that_it_is_not_there_yet(home, tmp_path):
    assert run("reconcile", str(tmp_path), "--engine", "spark").exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("findings", "--format", "xml"), ("check", "--max", "-1"), ("runs", "--verify", "--head", "zzz")],
)
def test_wrong_usage_exits_with_2(home, arguments):
    assert run(*arguments).exit_code == 2


def test_a_wrong_configuration_is_one_sentence_without_a_traceback(home, tmp_path):
    (tmp_path / "pooltable.toml").write_text("[environments.prod]\nuser_pool_id = 3")
    shown = run("findings")
    assert shown.exit_code == 2
    assert shown.stdout == ""
    assert shown.stderr.startswith("Error: ")
    assert "Traceback" not in shown.stderr
    assert len(shown.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["findings", "accounts", "rows", "invocations"])
def test_without_a_snapshot_a_table_command_exits_with_3(home, tmp_path, command):
    (tmp_path / "pooltable.toml").write_text('[environments.prod]\nuser_pool_id = "eu-west-1_abc"')
    shown = run(command)
    assert shown.exit_code == 3
    assert "refresh" in shown.stderr


def test_an_account_without_credentials_is_not_read_and_says_how_to_sign_in(home, tmp_path):
    (tmp_path / "pooltable.toml").write_text(
        '[environments.prod]\nuser_pool_id = "eu-west-1_abc"\nendpoint_url = "http://127.0.0.1:9"\ntable = "User"\n'
    )
    shown = run("check", "--json")
    assert shown.exit_code == 3
    assert "credentials" in shown.stderr
    judged = json.loads(shown.stdout)
    assert (judged["ok"], judged["complete"], judged["findings"]) == (False, False, 0)


@pytest.mark.parametrize(
    ("command", "schema"),
    [("findings", FINDINGS), ("accounts", ACCOUNTS), ("rows", ROWS), ("invocations", INVOCATIONS)],
)
def test_json_is_one_array_with_the_contracts_columns(read, command, schema):
    lines = told(command, "--format", "json")
    assert lines
    assert list(lines[0]) == schema.names


def test_findings_are_those_that_the_worlds_generator_knows(read):
    truth = read.truth()
    needed = truth[~truth["situation"].isin(["in_sync", "in_flight", "out_of_scope"])]
    lines = told("findings", "--format", "json", "--reveal")
    found = dict.fromkeys(needed["situation"].unique(), 0)
    for line in lines:
        found[line["situation"]] += 1
    assert found == needed["situation"].value_counts().to_dict()


def test_all_adds_the_pairs_that_need_nobody(read):
    everything = told("findings", "--all", "--format", "json")
    assert "in_sync" in {line["situation"] for line in everything}
    assert len(everything) > len(told("findings", "--format", "json"))


def test_situation_and_cause_choose(read):
    lines = told("findings", "--situation", "orphaned_account", "--cause", "api_key_expired", "--format", "json")
    assert {(line["situation"], line["cause"]) for line in lines} == {("orphaned_account", "api_key_expired")}


def test_tables_behind_are_chosen_by_the_findings_on_them(read):
    subs = {line["sub"] for line in told("findings", "--situation", "drift", "--format", "json")}
    assert {line["sub"] for line in told("accounts", "--situation", "drift", "--format", "json")} == subs


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_no_e_mail_leaves_unless_revealed(read, form):
    emails = [line["email"] for line in told("accounts", "--format", "json", "--reveal") if line["email"]]
    shown = run("accounts", "--format", form).output
    assert [email for email in emails if email in shown] == []


def test_no_e_mail_leaves_with_a_runs_steps_or_an_error(read, tmp_path):
    file = planned(tmp_path, "--cause", "trigger_timeout")
    run_id = run("apply", str(file), "--yes").stdout.splitlines()[0].removeprefix("run ")
    emails = [line["email"] for line in told("accounts", "--format", "json", "--reveal") if line["email"]]
    shown = run("runs", run_id).output + run("runs", run_id, "--json").output
    assert [email for email in emails if email in shown] == []
    assert "anna@mail.test" not in run("runs", "anna@mail.test").output


def test_a_file_with_people_in_it_is_its_owners_alone(read, tmp_path):
    assert run("accounts", "--reveal", "--format", "csv", "-o", str(tmp_path / "a.csv")).exit_code == 0
    assert (tmp_path / "a.csv").stat().st_mode & 0o077 == 0
    refused = run("accounts", "-o", str(tmp_path / "nowhere" / "a.csv"))
    assert refused.exit_code == 2
    assert refused.stderr.startswith("Error: Cannot write")


def test_a_table_goes_to_a_file(read, tmp_path):
    file = tmp_path / "out.parquet"
    shown = run("findings", "--format", "parquet", "-o", str(file))
    assert (shown.exit_code, shown.stdout) == (0, "")
    assert pq.read_schema(file).names == FINDINGS.names
    assert pq.read_schema(io.BytesIO(file.read_bytes())).field("notes").type == FINDINGS.field("notes").type


def test_check_counts_what_it_is_told_to_count(read):
    judged = told("check", "--json")
    assert set(judged) == {
        "environment", "snapshot", "ok", "complete", "suspicious", "findings", "counted", "limit", "by_situation",
        "by_cause", "worst",
    }  # fmt: skip
    assert run("check").exit_code == 1
    assert re.match(r"\d+ sign-ups lost in silence, \d+ orphaned accounts, ", judged["worst"])
    assert run("check", "--max", str(judged["findings"])).exit_code == 0
    only = told("check", "--json", "--fail-on", "tombstone")
    assert only["counted"] == judged["by_situation"]["tombstone"]
    assert only["findings"] == judged["findings"]


def test_a_plan_is_applied_twice_with_the_same_end_and_then_undone(read, tmp_path):
    before = told("findings", "--format", "json", "--reveal")
    file = planned(tmp_path, "--cause", "api_key_expired")
    steps = len(json.loads(file.read_text())["steps"])
    assert steps > 0

    first = run("apply", str(file), "--yes", "--why", "the key had expired")
    assert first.exit_code == 0, first.output
    lines = first.stdout.splitlines()
    assert lines[0].startswith("run ")
    assert len(lines) == 1 + steps
    run_id = lines[0].removeprefix("run ")
    left = told("findings", "--format", "json", "--reveal")
    assert "api_key_expired" not in {line["cause"] for line in left}

    again = told("apply", str(file), "--yes", "--json")
    assert (again["done"], again["already"], again["state"]) == (0, steps, "done")

    undone = run("undo", run_id, "--yes")
    assert undone.exit_code == 0
    assert "tombstone" in undone.stderr
    after = told("findings", "--format", "json", "--reveal")
    created = {line["row_id"] for line in after if line["situation"] == "tombstone" and "repaired" in line["notes"]}
    assert len(created) == steps
    assert len(after) == len(before)

    listed = told("runs", "--json")
    assert listed[0]["state"] == "done"
    assert next(entry for entry in listed if entry["run_id"] == run_id)["why"] == "the key had expired"
    assert told("runs", run_id, "--json")[0]["run_id"] == run_id
    line = next(line for line in run("runs").stdout.splitlines() if line.startswith(run_id))
    assert "repair" in line
    assert "step" in line


def test_repairing_the_key_incident_leaves_exactly_the_others_and_changes_nothing_else(tmp_path, monkeypatch):
    with World(accounts=200, home=tmp_path / "state") as world:
        monkeypatch.setenv("POOLTABLE_HOME", str(tmp_path / "state"))
        monkeypatch.chdir(tmp_path)
        judged = told("check", "--json")
        before = told("findings", "--format", "json", "--reveal")
        lost = {line["account_id"] for line in before if line["cause"] == "api_key_expired"}
        items = scanned(world)
        assert run("apply", str(planned(tmp_path, "--cause", "api_key_expired")), "--yes").exit_code == 0

        again = told("check", "--json")
        assert (again["complete"], again["findings"]) == (True, judged["findings"] - len(lost))
        left = told("findings", "--format", "json", "--reveal")
        others = [line for line in before if line["account_id"] not in lost]
        assert [identity(line) for line in left] == [identity(line) for line in others]
        now_there = scanned(world)
        assert {key: now_there[key] for key in items} == items
        assert now_there.keys() - items.keys() == lost


def scanned(world: World) -> dict[str, dict]:
    pages = world.client("dynamodb").get_paginator("scan").paginate(TableName=world.facts.table)
    return {item["id"]["S"]: item for page in pages for item in page["Items"]}


def identity(line: dict) -> tuple:
    return tuple(str(line[name]) for name in ("situation", "cause", "account_id", "row_id", "email", "row_email"))


def test_without_an_answer_nothing_is_written(read, tmp_path):
    file = planned(tmp_path, "--cause", "silent_failure")
    shown = run("apply", str(file))
    assert shown.exit_code == 4
    assert "Nothing was written" in shown.stderr


def test_a_plan_over_the_threshold_waits_for_its_count(read, tmp_path):
    (Path.cwd() / "pooltable.toml").write_text("[environments.demo]\nmax_repairs = 1\n")
    try:
        file = planned(tmp_path, "--env", "demo", "--cause", "silent_failure")
        steps = len(json.loads(file.read_text())["steps"])
        assert steps > 1
        refused = run("apply", str(file), "--yes")
        assert refused.exit_code == 4
        assert f"--release {steps}" in refused.stderr
        assert run("apply", str(file), "--yes", "--release", str(steps - 1)).exit_code == 4
        assert run("apply", str(file), "--yes", "--release", str(steps)).exit_code == 0
    finally:
        (Path.cwd() / "pooltable.toml").unlink()


def test_a_read_only_environment_refuses_every_write(read, tmp_path):
    file = planned(tmp_path, "--cause", "trigger_timeout")
    (Path.cwd() / "pooltable.toml").write_text("[environments.demo]\nread_only = true\n")
    try:
        shown = run("apply", str(file), "--yes")
        assert shown.exit_code == 4
        assert "read-only" in shown.stderr
    finally:
        (Path.cwd() / "pooltable.toml").unlink()


def test_a_plan_file_is_its_owners_alone(read, tmp_path):
    assert planned(tmp_path).stat().st_mode & 0o077 == 0


def test_wiring_shows_each_link(read):
    chain = told("wiring", "--json")
    assert set(chain) == {"pool", "triggers", "function", "api", "table", "log_group", "correlation", "checks"}
    assert {check["status"] for check in chain["checks"]} <= {"ok", "warning", "problem", "unknown"}
    # The key in the trigger's environment has expired in this world, so not everything is green.
    shown = run("wiring")
    assert shown.exit_code == 1
    for check in chain["checks"]:
        wanted = ("title", "cause") if check["status"] == "ok" else ("title", "cause", "fix", "impact")
        assert all(check[name] in shown.stdout for name in wanted)
    assert all(chain[name] in shown.stdout for name in ("pool", "function", "api", "table", "log_group", "correlation"))


def test_reconcile_judges_a_folder_again_and_finds_the_same(read):
    folder = max((Path(os.environ["POOLTABLE_HOME"]) / "snapshots" / "demo").iterdir())
    before = pq.read_table(folder / "findings.parquet")
    assert run("reconcile", str(folder)).exit_code == 0
    assert pq.read_table(folder / "findings.parquet").equals(before)


def test_the_module_runs_as_a_command_and_keeps_stdout_for_the_answer(read):
    shown = subprocess.run(
        [sys.executable, "-m", "lib", "findings", "--format", "json"],
        cwd=ROOT,
        env=os.environ | {"POOLTABLE_HOME": os.environ["POOLTABLE_HOME"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(shown.stdout)

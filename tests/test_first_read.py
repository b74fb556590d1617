"""An environment read for the first time, whose trigger never wrote a row: accepted by a person, then filled whole."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from click.testing import CliRunner, Result
from streamlit.testing.v1 import AppTest

from lib import connect
from lib.cli import main
from lib.demo.world import World

ROOT = Path(__file__).parents[1]
PATIENCE_S = 120


@pytest.fixture
def empty(home: Path) -> Iterator[World]:
    """A world whose table lost every row before anybody read it."""
    with World(accounts=60, home=home) as world:
        dynamodb = world.client("dynamodb")
        for item in dynamodb.scan(TableName=world.facts.table)["Items"]:
            dynamodb.delete_item(TableName=world.facts.table, Key={"id": item["id"]})
        assert run("refresh").exit_code == 0
        yield world


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_it_gives_no_plan_until_it_is_accepted_and_is_written_only_when_its_count_is_typed(
    empty: World, tmp_path: Path
) -> None:
    file = str(tmp_path / "plan.json")
    refused = run("plan", "-o", file)
    assert refused.exit_code == 4
    assert "suspicious" in refused.stderr
    planned = run("plan", "--accept-suspicious", "-o", file)
    assert planned.exit_code == 0
    steps = len(connect("demo").plan().steps)
    assert steps > 40
    waits = run("apply", file, "--yes")
    assert waits.exit_code == 4
    assert f"--release {steps}" in waits.stderr
    assert empty.client("dynamodb").scan(TableName=empty.facts.table)["Items"] == []
    assert run("apply", file, "--yes", "--release", str(steps)).exit_code == 0
    assert len(empty.client("dynamodb").scan(TableName=empty.facts.table)["Items"]) == steps
    assert connect("demo").plan().steps == ()


def test_a_page_asks_for_the_reason_and_then_offers_to_create_every_row(empty: World) -> None:
    st.cache_resource.clear()
    st.cache_data.clear()
    app = AppTest.from_file(str(ROOT / "dashboard.py"), default_timeout=PATIENCE_S).run()
    app.switch_page("pages/accounts.py").run()
    assert "nothing is repaired on it" in "\n".join(str(each.value) for each in app.markdown)
    assert app.button("frame_accept").disabled
    app.text_input("frame_why").input("the trigger never worked").run()
    app.button("frame_accept").click().run()
    assert not app.exception
    assert "nothing is repaired on it" not in "\n".join(str(each.value) for each in app.markdown)
    environment = connect("demo")
    assert environment.accepted(environment.latest())
    steps = len(environment.plan().steps)
    assert app.button("accounts_repair_all").label == f"Create all {steps:,} rows…"
    assert not app.button("accounts_repair_all").disabled
    st.cache_resource.clear()
    st.cache_data.clear()

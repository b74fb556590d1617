"""The first environment from the browser: pools of the account in, `pooltable.toml` out; offered to nobody else."""

import os
import subprocess
import sys
from pathlib import Path

import browser_kit
import pytest
import streamlit as st
from browser_kit import ROOT, Visit, answers, browser, free_port, until
from streamlit.testing.v1 import AppTest

from lib import connect
from lib.config import load
from lib.demo.running import CREDENTIALS
from lib.demo.world import World


def test_where_nothing_is_configured_a_pool_is_chosen_and_its_environment_is_there(home, tmp_path):
    with World(accounts=40, home=home) as world:
        # The page of an environment that was read already is not made anew meanwhile.
        connect("demo").refresh()
        environ = os.environ | {
            "POOLTABLE_HOME": str(home),
            "AWS_ENDPOINT_URL": world.facts.url,
            "AWS_ACCESS_KEY_ID": CREDENTIALS[0],
            "AWS_SECRET_ACCESS_KEY": CREDENTIALS[1],
            "AWS_DEFAULT_REGION": world.facts.region,
        }
        port = free_port()
        command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "dashboard.py"), "--server.port", str(port)]
        # In a folder of its own: there the file is written.
        with (tmp_path / "log").open("wb") as log:
            server = subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=log, stderr=log)
        try:
            until(lambda: answers(f"http://127.0.0.1:{port}/_stcore/health"), "the server answers")
            with browser() as chromium:
                connected(Visit(chromium.new_page(), f"http://127.0.0.1:{port}"), world)
        finally:
            server.terminate()
            server.wait(10)
        written = load({"POOLTABLE_HOME": str(home)}, tmp_path)
        assert [each.user_pool_id for name, each in written.environments.items() if name != "demo"] == [
            world.facts.pool
        ]


def connected(visit: Visit, world: World) -> None:
    visit.open("/repairs", "Repairs")
    visit.button("Connect your AWS").click()
    visit.button("List the user pools").click()
    visit.shows("calls PreSignUp")
    visit.page.wait_for_function(browser_kit._IDLE)
    visit.button("Connect 1 pool").click()
    visit.shows("Nothing was read yet")
    assert "env=pooltable-dev" in visit.page.url
    assert visit.button("Connect your AWS").count() == 0
    visit.open("/repairs?env=demo", "Repairs")
    assert visit.button("Connect your AWS").count() == 0


@pytest.fixture
def shown(world):
    st.cache_resource.clear()
    st.cache_data.clear()
    yield lambda: AppTest.from_file(str(ROOT / "dashboard.py"), default_timeout=120).run()
    st.cache_resource.clear()
    st.cache_data.clear()


def test_who_is_not_known_to_be_at_this_machine_is_not_offered_it(shown):
    app = shown()
    assert not app.exception
    assert "Connect your AWS" not in [button.label for button in app.button]
    assert not Path("pooltable.toml").exists()

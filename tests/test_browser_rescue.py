"""The key rescue in a real browser: the dead key is extended, a new sign-up gets its row, the lost ones get theirs."""

import re

from browser_kit import Visit, browser, dashboard, until

from lib import connect
from lib.demo.sign_up import sign_up
from lib.demo.world import World
from lib.views.key_gap import key_gap


def rows_of(world: World) -> set[str]:
    """The ids in the table, as it stands."""
    pages = world.client("dynamodb").get_paginator("scan").paginate(TableName=world.facts.table)
    return {item["id"].get("S", "") for page in pages for item in page["Items"]}


def extended(visit: Visit) -> None:
    """Extend the key in its dialog, which wants the days typed."""
    visit.button("Extend the key").click()
    go = visit.button("Extend by 30 days")
    visit.shows("Amplify's own configuration knows nothing of it")
    assert go.is_disabled()
    visit.page.get_by_label("Type 30 to confirm").fill("30")
    visit.page.keyboard.press("Enter")
    until(go.is_enabled, "the key can be extended")
    go.click()
    visit.shows("The API key was extended until")


def backfilled(visit: Visit, count: int) -> None:
    """Carry out the ready plan of the gap in its preview."""
    button = visit.page.get_by_role("button", name=re.compile(f"Create {count} rows…"))
    until(button.is_enabled, "what was lost until now is read")
    button.click()
    dialog = visit.page.get_by_role("dialog")
    go = dialog.get_by_role("button", name=f"Create {count} rows", exact=True)
    go.wait_for()
    until(go.is_enabled, "the rows can be created")
    go.click()
    visit.shows(f"{count} rows created")


def test_the_key_is_extended_a_new_sign_up_gets_its_row_and_the_lost_ones_are_backfilled(world: World) -> None:
    env = connect("demo")
    gap = key_gap(env.refresh())
    assert gap is not None
    assert gap.accounts
    assert not rows_of(world) & set(gap.accounts)
    with dashboard(env.config.home.resolve()) as served, browser() as chromium:
        visit = Visit(chromium.new_page(), served.url)
        visit.open("/wiring?env=demo", "Wiring")
        extended(visit)
        new = sign_up(env.settings, fail="key_expired")  # with the key that had expired
        assert (new.outcome, new.username in rows_of(world)) == ("in_sync", True)
        before = rows_of(world)
        backfilled(visit, len(gap.accounts))
        assert rows_of(world) - before == set(gap.accounts)
        assert visit.hosts == {"127.0.0.1"}
        assert not visit.complaints

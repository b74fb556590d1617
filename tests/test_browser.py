"""The main path in a real browser: see who has no row, repair, see it at once, take it back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_kit import Dashboard, Visit, browser, dashboard, until
from playwright.sync_api import Browser, Locator

from lib import connect
from lib.demo.world import World

ORPHANED = "/accounts?situation=orphaned_account"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def served(world: World) -> Iterator[Dashboard]:
    """The dashboard in a process of its own, on this module's world, which was read once."""
    environment = connect("demo")
    environment.refresh()
    with dashboard(environment.config.home.resolve()) as running:
        yield running


@pytest.fixture
def visit(served: Dashboard, chromium: Browser) -> Iterator[Visit]:
    """A browser that has never been here."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    visited = Visit(context.new_page(), served.url)
    yield visited
    context.close()
    assert visited.hosts == {"127.0.0.1"}
    assert not visited.complaints


def rows_of(world: World) -> dict[str, dict[str, Any]]:
    """The table's items by id, as it stands."""
    scan = world.client("dynamodb").get_paginator("scan").paginate(TableName=world.facts.table)
    return {item["id"]["S"]: item for page in scan for item in page["Items"] if "S" in item.get("id", {})}


def count(visit: Visit, situation: str) -> int:
    """How many lines are in a situation, as the filter says; 0 where it is not offered."""
    texts = [text for text in situations(visit).all_inner_texts() if text.startswith(situation)]
    return int(texts[0].removeprefix(situation).replace(",", "")) if texts else 0


def situations(visit: Visit) -> Locator:
    """The choice of the situation."""
    return visit.page.get_by_role("radiogroup", name="Situation").get_by_role("radio")


def test_a_deep_link_to_a_server_that_nobody_has_opened_yet_shows_the_page(served: Dashboard, visit: Visit) -> None:
    visit.open("/repairs", "Repairs")
    assert visit.page.get_by_role("link", name="Wiring").is_visible()
    assert not visit.page.get_by_role("link", name="dashboard").count()


def test_two_orphaned_accounts_are_repaired_and_the_repair_taken_back(world: World, visit: Visit) -> None:
    before = rows_of(world)
    visit.open("/", "Sign-ups")
    visit.page.get_by_role("link", name="Accounts").first.click()
    visit.settled("Accounts")
    situations(visit).filter(has_text="All findings").click()
    visit.page.wait_for_url("**/accounts?*situation=all*")
    situations(visit).filter(has_text="Orphaned account").click()
    visit.page.wait_for_url("**/accounts?*situation=orphaned_account*")
    visit.settled("Accounts")
    orphaned, deleted = count(visit, "Orphaned account"), count(visit, "Soft-deleted row")
    subs = visit.grid().column("Sub")
    chosen = {subs[1], subs[3]}

    visit.grid().tick(1)
    visit.button("Create 1 row…").wait_for()
    visit.grid().tick(3)
    visit.button("Create 2 rows…").click()
    visit.button("Create 2 rows", exact=True).click()
    visit.shows("2 rows created. Confirmed by reading back")

    until(lambda: count(visit, "Orphaned account") == orphaned - 2, "both are counted as orphaned no more")
    until(lambda: not chosen & set(visit.grid().column("Sub")), "both are gone from the list")
    created = {key: item for key, item in rows_of(world).items() if key not in before}
    assert {key[:8] for key in created} == chosen
    assert len(connect("demo").history()) == 1  # nothing was read anew

    visit.button("Undo…").click()
    visit.shows("AppSync leaves a tombstone in the place of each deleted row")
    assert visit.button("Delete 2 rows").is_disabled()
    visit.page.get_by_label("Type 2 to confirm").fill("2")
    visit.page.get_by_label("Type 2 to confirm").press("Enter")
    visit.button("Delete 2 rows").click()
    visit.shows("2 rows deleted. Confirmed by reading back")

    until(lambda: count(visit, "Soft-deleted row") == deleted + 2, "both are shown as the preview said")
    until(lambda: count(visit, "Orphaned account") == orphaned - 2, "neither is an orphaned account again")
    after = rows_of(world)
    assert all(after[key]["_deleted"] == {"BOOL": True} for key in created)
    assert {key: item for key, item in after.items() if key not in created} == before


def test_another_row_is_never_chosen_when_lines_above_it_vanish(world: World, visit: Visit) -> None:
    visit.open(ORPHANED, "Accounts")
    subs = visit.grid().column("Sub")
    visit.grid().tick(2)
    visit.button("Create 1 row…").wait_for()
    # Somebody else repairs the two lines above, from the command line.
    environment = connect("demo")
    accounts = environment.latest().findings["account_id"]
    gone = [name for name in accounts.dropna() if name[:8] in subs[:2]]
    environment.apply(environment.plan(ids=gone))
    visit.page.get_by_text("Reveal e-mails").click()
    until(lambda: visit.grid().column("Sub")[:1] == subs[2:3], "the two lines are gone")
    until(lambda: visit.grid().ticked() == [0], "the same line is ticked, now the first")
    visit.button("Create 1 row…").click()
    visit.button("Create 1 row", exact=True).wait_for()
    assert visit.grid(visit.page.get_by_test_id("stDataFrame").count() - 1).column("Sub") == [subs[2]]


def test_a_run_goes_on_when_the_page_is_loaded_again(world: World, visit: Visit) -> None:
    visit.open(ORPHANED, "Accounts")
    visit.button("Create all").click()
    field = visit.page.get_by_label("to confirm")
    field.wait_for()
    steps = field.get_attribute("aria-label") or ""
    number = "".join(filter(str.isdigit, steps))
    field.fill(number)
    field.press("Enter")
    visit.button(f"Create {number} rows", exact=True).click()
    until(lambda: connect("demo").runs()[0]["steps"] == int(number), "the run is on record")
    visit.open(ORPHANED, "Accounts")
    visit.shows(f"{number} rows created. Confirmed by reading back")
    assert connect("demo").runs()[0]["done"] == int(number)


def test_what_a_user_wrote_is_shown_as_it_is(world: World, visit: Visit) -> None:
    hostile = "<img src=x onerror=alert(1)>![x](http://x.test/y) :red[z] $x$ mailto:a"
    item = {"id": {"S": hostile}, "email": {"S": "\u202eevil@mail.test"}, "name": {"S": hostile}}
    world.client("dynamodb").put_item(TableName=world.facts.table, Item=item)
    visit.open("/accounts", "Accounts")
    visit.button("Refresh").click()
    until(lambda: len(connect("demo").history()) == 2, "the refresh is stored")
    visit.open("/accounts", "Accounts")
    field = visit.page.get_by_role("searchbox", name="Search")
    field.fill("evil")
    field.press("Enter")
    until(lambda: len(visit.grid().column("E-mail")) == 1, "the search has found it")
    visit.grid().tick(0)
    visit.page.get_by_test_id("stCode").get_by_text(hostile, exact=True).wait_for()
    assert hostile in visit.grid(1).column("Row")
    visit.page.get_by_text("Reveal e-mails").click()
    until(
        lambda: visit.grid().column("E-mail") == ["\\u202eevil@mail.test"], "it is revealed, its direction mark as text"
    )
    assert "evil" not in visit.page.url
    assert not visit.page.locator("img[src='x'], a[href^='mailto:'], .katex").count()


def test_the_address_of_the_server_is_this_machine_alone(served: Dashboard) -> None:
    assert "0.0.0.0" not in Path(served.log).read_text()

from datetime import timedelta
from typing import Any

import plotly.graph_objects as go
import pytest
from trends_kit import NOW, account, row, run, snapshot

from lib import charts
from lib.aws.checks import Check
from lib.model import SITUATIONS, Wiring
from lib.views import failures, trends

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def world() -> Any:
    ages = {"kept": 30, "silent": 26, "late": 5, "young": 0.05}
    accounts = [account(name, NOW - age * HOUR) for name, age in ages.items()]
    runs = [
        run("1", "kept", NOW - 30 * HOUR, duration_ms=80.0),
        run("2", "silent", NOW - 26 * HOUR, duration_ms=900.0, cold_start=True),
        run("3", "late", NOW - 5 * HOUR, "timeout", duration_ms=6000.0),
        run("4", "ghost", NOW - 4 * HOUR, "error"),
    ]
    return snapshot(accounts, [row("kept", NOW - 30 * HOUR)], runs)


def test_each_outcome_that_occurs_is_a_bar_of_its_own_colour_and_only_sign_ups_in_flight_are_hatched(
    world: Any,
) -> None:
    bars = {bar.name: bar for bar in charts.sign_ups(world).data}
    assert list(bars) == ["Row written", "Rejected sign-up", "In flight", "Failed", "Silent failure"]
    assert {name: sum(bar.y) for name, bar in bars.items()} == dict.fromkeys(bars, 1)
    assert [name for name, bar in bars.items() if bar.marker.pattern.shape] == ["In flight"]
    assert bars["Silent failure"].marker.color == charts.COLOURS["orange"]
    assert bars["Failed"].marker.color == charts.COLOURS["red"]


def test_bars_are_hours_within_a_day_and_days_beyond(world: Any) -> None:
    hours, days = charts.sign_ups(world, "24h").data[0].x, charts.sign_ups(world, "90d").data[0].x
    assert (len(hours), hours[1] - hours[0]) == (24, HOUR)
    assert (len(days), days[1] - days[0]) == (90, 24 * HOUR)


def test_a_period_without_sign_ups_still_has_its_empty_axis() -> None:
    figure = charts.sign_ups(snapshot())
    assert [bar.name for bar in figure.data] == ["Row written"]
    assert sum(figure.data[0].y) == 0
    assert list(charts.funnel(snapshot()).data[1].x) == [0, 0, 0, 0]


def test_the_funnel_gives_counts_and_shares_as_text_beside_its_bars(world: Any) -> None:
    figure = charts.funnel(world)
    assert list(figure.data[1].x) == [5, 4, 1, 1]
    assert figure.data[1].y[2] == "Row written<br><b>1</b> · 20.0%"


def test_durations_are_drawn_in_seconds_against_the_limit(world: Any) -> None:
    figure = charts.durations(world)
    lines = {line.name: [value for value in line.y if value == value] for line in figure.data}
    assert lines["p50"] == pytest.approx([0.08, 3.06])
    assert lines["Longest"] == [0.08, 6.0]
    assert lines["Cold start"] == [0.9]
    (limit,) = figure.layout.shapes
    assert limit.y0 == failures.LIMIT_MS / 1000


def test_history_draws_a_line_per_situation_in_its_colour() -> None:
    earlier = snapshot([account("a", NOW - 50 * HOUR)], at=NOW - HOUR)
    later = snapshot([account("a", NOW - 50 * HOUR)], [row("a", NOW - 50 * HOUR)])
    (line,) = charts.situations_history([earlier, later]).data
    assert (line.name, list(line.y)) == ("Orphaned account", [1, 0])
    assert line.line.color == charts.COLOURS["red"]


def test_every_outcome_and_situation_has_one_colour_and_green_means_in_sync_alone() -> None:
    assert set(charts.OUTCOME_COLOURS) == set(trends.OUTCOMES)
    assert set(charts.SITUATION_COLOURS) == set(SITUATIONS)
    used = {**charts.OUTCOME_COLOURS, **charts.SITUATION_COLOURS}
    assert {name for name, colour in used.items() if colour == "green"} == {"in_sync"}
    assert set(used.values()) <= set(charts.COLOURS)


def test_figures_leave_background_and_ink_to_the_theme(world: Any) -> None:
    for figure in (charts.sign_ups(world), charts.funnel(world), charts.durations(world)):
        assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == "rgba(0,0,0,0)"
        assert figure.layout.font.color is None
        assert figure.layout.template.layout.font.color


WIRING = Wiring(
    pool="eu-west-1_Test",
    region="eu-west-1",
    table="User-test",
    api_id="abc",
    functions=("<i>create</i>",),
    log_groups=("/aws/lambda/createUser-with-a-name-that-is-far-too-long-for-its-box",),
)


def boxes(figure: go.Figure) -> dict[str, tuple[str, str]]:
    texts = [note.text for note in figure.layout.annotations if note.text.startswith("<b>")]
    return {
        text.split("</b>")[0].removeprefix("<b>"): (shape.line.color, text)
        for shape, text in zip(figure.layout.shapes, texts, strict=True)
    }


def test_each_link_of_the_chain_has_the_colour_and_words_of_its_worst_check() -> None:
    found = {"pool": "ok", "api": "ok", "api_key": "problem", "table": "warning"}
    checks = [Check(name, status, "") for name, status in found.items()]
    drawn = boxes(charts.chain(WIRING, checks))
    assert drawn["User pool"][0] == charts.COLOURS["slate"]
    assert drawn["GraphQL API"][0] == charts.COLOURS["red"]
    assert drawn["GraphQL API"][1].endswith("✕ its key has expired")
    assert drawn["User table"][0] == charts.COLOURS["orange"]
    assert drawn["Trigger function"][1].endswith("? not checked")


def test_names_in_the_chain_are_cut_and_never_markup() -> None:
    drawn = boxes(charts.chain(WIRING, []))
    assert "&lt;i&gt;create&lt;/i&gt;" in drawn["Trigger function"][1]
    assert "/aws/lamb…" in drawn["Log group"][1]
    assert "not known" in boxes(charts.chain(Wiring(pool="p", region="r"), []))["User table"][1]

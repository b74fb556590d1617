import json
import os
import random
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logparse_kit import (
    COGNITO,
    CORPORA,
    ID,
    OTHER,
    REPORTED,
    USER,
    end,
    event,
    logs,
    only,
    platform,
    python,
    read,
    records,
    report,
    says,
    score,
    start,
    whole,
)

from lib.logparse import invocations
from lib.logparse.lines import classify
from lib.logparse.runs import runs
from lib.logparse.verdict import record
from lib.logparse.whole import classified
from lib.model import INVOCATIONS

FOLDERS = [CORPORA, *(Path(part) for part in os.environ.get("POOLTABLE_TRIGGER_LOGS", "").split(os.pathsep) if part)]
NAMES = [(folder, path.stem) for folder in FOLDERS for path in sorted(folder.glob("*.jsonl"))]

OUTCOMES = {"completed", "error", "timeout", "oom", "exit", "init_error", "incomplete"}


def same(first, second):
    assert first.attrs == second.attrs
    assert records(first) == records(second)


@pytest.mark.parametrize(("folder", "name"), NAMES, ids=[name for _, name in NAMES])
def test_every_sample_log_gives_the_truth(folder, name):
    result = score(name, folder)
    assert result.clean, [*result.outcomes, *result.fields, *result.phantoms, *result.missing]


def test_the_frame_has_the_contract_s_columns_even_without_events():
    for frame in (invocations([]), invocations(whole())):
        assert list(frame.columns) == INVOCATIONS.names
    assert invocations([]).attrs == {"suspicious": 0, "suspicious_at": [], "open": 0}


# Laws


MIXED = [line for name in ("mixed_600", "py_text_print_injection", "seed_node22_json_timeout") for line in read(name)]
EXPECTED = invocations(MIXED)


@settings(deadline=None, max_examples=15)
@given(st.builds(random.Random, st.integers()), st.integers(1, 40))
def test_order_batches_and_repeats_of_events_change_nothing(chance, size):
    batches = [MIXED[place : place + size] for place in range(0, len(MIXED), size)]
    batches += chance.sample(batches, len(batches) // 3)
    chance.shuffle(batches)
    same(invocations(line for batch in batches for line in batch), EXPECTED)


@settings(deadline=None, max_examples=15)
@given(st.builds(random.Random, st.integers()), st.integers(2, 12))
def test_overlapping_windows_of_time_change_nothing(chance, count):
    times = sorted(line["timestamp"] for line in MIXED)
    cuts = [times[0], *sorted(chance.sample(times, count)), times[-1] + 1]
    windows = [[line for line in MIXED if low - 60_000 <= line["timestamp"] < high] for low, high in pairwise(cuts)]
    chance.shuffle(windows)
    same(invocations(line for window in windows for line in window), EXPECTED)


ID_LINES = [
    lambda request_id: f"START RequestId: {request_id} Version: $LATEST\n",
    lambda request_id: f"2026-11-20T06:00:00.358Z\t{request_id}\tINFO\tdebug cognito EVENT: {json.dumps(COGNITO)}\n",
    lambda request_id: f"2026-11-20T06:00:00.358Z\t{request_id}\tINFO\tError of mine\n",
    lambda request_id: f"END RequestId: {request_id}\n",
    lambda request_id: f"REPORT RequestId: {request_id}\t{REPORTED}\n",
]
NAMELESS = [
    "[ERROR] KeyError: 'x'\nTraceback (most recent call last):\n",
    "INIT_START Runtime Version: nodejs:22.v71\tRuntime Version ARN: arn\n",
    "INIT_REPORT Init Duration: 278.66 ms\tPhase: init\tStatus: error\tError Type: Runtime.X\n",
    json.dumps(COGNITO) + "\n",
]
WHOLE_RUNS = [(0, 1, 3, 4), (0, 1, 2, 3, 4)]
SCRIPTS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(WHOLE_RUNS) | st.tuples(st.integers(0, len(ID_LINES) - 1)))
    | st.sampled_from(NAMELESS),
    max_size=9,
)


@settings(deadline=None, max_examples=400)
@given(SCRIPTS, st.lists(st.integers(0, 5), min_size=40, max_size=40))
def test_runs_read_at_a_glance_are_those_read_line_by_line(script, pauses):
    messages = []
    for part in script:
        if isinstance(part, str):
            messages.append(part)
        else:
            messages += [ID_LINES[place](ID[:-1] + str(part[0])) for place in part[1]]
    times = list(accumulate(pauses))
    events = [(times[place], 1, str(place), message) for place, message in enumerate(messages)]
    glanced, stray = runs(classified(events))
    one_by_one, also_stray = runs([classify(message, at) for at, _, _, message in events])
    assert stray == also_stray
    assert [record(run, "s") for run in glanced] == [record(run, "s") for run in one_by_one]


PIECES = st.sampled_from(
    [
        f"START RequestId: {OTHER} Version: $LATEST\n",
        f"START RequestId: {ID} Version: $LATEST\n",
        f"END RequestId: {OTHER}\n",
        f"END RequestId: {ID}\n",
        f"REPORT RequestId: {ID}\t",
        REPORTED,
        "\tStatus: timeout\n",
        "\tError Type: Runtime.OutOfMemory",
        f"RequestId: {ID} Error: Runtime exited with error: signal: killed\nRuntime.ExitError\n",
        f"2026-11-20T06:00:00.358Z\t{ID}\tERROR\t",
        f"[ERROR]\t2026-11-20T06:00:00.358Z\t{ID}\t",
        "[ERROR] KeyError: 'x'\nTraceback (most recent call last):\n",
        "Invoke Error \t",
        "debug cognito EVENT: ",
        "#### debug variables:  {\n  input: { id: 'a', email: ",
        json.dumps(COGNITO),
        '{"time":"x","type":"platform.report","record":',
        f'{{"timestamp":"t","level":"ERROR","requestId":"{ID}","message":',
        '{"errorType":1,"errorMessage":[]}',
        "INIT_REPORT Init Duration: 1e400 ms\tPhase: init\tStatus: error\n",
        "{" * 2000,
        '{"a":' * 2000,
        "}}",
        "\ud800",
        "\u2028",
        "NaN",
    ]
)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.lists(PIECES | st.text(max_size=8), max_size=5).map("".join), max_size=12))
def test_no_log_line_whatever_breaks_the_parser(messages):
    frame = invocations([event(message, place // 2) for place, message in enumerate(messages)])
    assert set(frame.outcome) <= OUTCOMES
    assert frame.request_id.is_unique


@settings(deadline=None, max_examples=100)
@given(st.lists(PIECES | st.text(max_size=8), max_size=6).map(lambda pieces: "".join(pieces).replace(ID, OTHER)))
def test_what_a_user_calls_himself_changes_no_invocation(name):
    """The Node handler logs it inside the event, the Python one prints it, which splits it into lines."""
    request = {"userAttributes": {"email": "ann@mail.test", "name": name}, "clientMetadata": {"k": name}}
    node = whole(says("debug cognito EVENT: " + json.dumps(COGNITO | {"request": request}, ensure_ascii=False)))
    printed = [event(f"{line}\n", 3) for line in f"signing up {name}".split("\n")]
    summary = json.dumps({"msg": "x", "userName": USER, "triggerSource": "PreSignUp_SignUp", "email": "ann@mail.test"})
    plain = only(whole(python(summary), python("done", 5)))
    kept = [name for name in INVOCATIONS.names if name not in ("event", "suspicious", "logged_error")]
    for found in (only(node), only(whole(python(summary), *printed, python("done", 5)))):
        assert {name: found[name] for name in kept} == {name: plain[name] for name in kept}


# How a run ended


TIMED_OUT = event(f"2026-11-20T06:00:03.000Z {ID} Task timed out after 3.00 seconds\n\n", 50)
KILLED = event(f"RequestId: {ID} Error: Runtime exited with error: signal: killed\nRuntime.ExitError\n", 50)
EXIT_3 = event(f"RequestId: {ID} Error: Runtime exited with error: exit status 3\nRuntime.ExitError\n", 50)
RAISED = says('Invoke Error \t{"errorType":"TypeError","errorMessage":"no","stack":[]}', level="ERROR")
TRACEBACK = event("[ERROR] KeyError: 'x'\nTraceback (most recent call last):\n  File\n", 3)
FULL = REPORTED.replace("Used: 71", "Used: 128")

ENDINGS = {
    "both lines": (whole(), "completed", None),
    "no REPORT": ([start(), end()], "completed", None),
    "no END": ([start(), report()], "completed", None),
    "an END with more in its line": ([start(), event(f"END RequestId: {ID} and more\n", 9)], "incomplete", None),
    "neither": ([start(), says("x")], "incomplete", None),
    "time-out, old": ([start(), TIMED_OUT, end(), report()], "timeout", "Sandbox.Timedout"),
    "time-out, new": ([start(), end(), report("Status: timeout\n")], "timeout", "Sandbox.Timedout"),
    "time-out, only its sentence": ([start(), TIMED_OUT], "timeout", "Sandbox.Timedout"),
    "time-out before an error": ([start(), RAISED, TIMED_OUT, report()], "timeout", "Sandbox.Timedout"),
    "out of memory": (
        [start(), KILLED, end(), report("Status: error\tError Type: Runtime.OutOfMemory\n")],
        "oom",
        "Runtime.OutOfMemory",
    ),
    "out of memory, old": (
        [start(), KILLED, end(), event(f"REPORT RequestId: {ID}\t{FULL}\n", 50)],
        "oom",
        "Runtime.OutOfMemory",
    ),
    "killed with memory left": ([start(), KILLED, end(), report()], "exit", "Runtime.ExitError"),
    "exit": ([start(), EXIT_3, end(), report("Status: error\tError Type: Runtime.ExitError\n")], "exit", None),
    "exit, REPORT lost": ([start(), EXIT_3], "exit", "Runtime.ExitError"),
    "raised in Node": (whole(RAISED), "error", "TypeError"),
    "raised in Node, then cut": (
        whole(event(RAISED["message"][:110], 2)),
        "error",
        "TypeError",
    ),
    "raised in Node, END and REPORT lost": ([start(), RAISED], "error", "TypeError"),
    "raised in Python": (whole(TRACEBACK), "error", "KeyError"),
    "raised in Python, told 3 ms after END": ([*whole(), TRACEBACK | {"timestamp": 1_795_154_400_053}], "error", None),
    "told long after END": ([*whole(), TRACEBACK | {"timestamp": 1_795_154_400_090}], "completed", None),
    "XRAY and an unknown key": (
        [start(), end(), report("Restore Duration: 9.00 ms\tFoo: 1\t\nXRAY TraceId: 1-2\tSegmentId: 3\t\n")],
        "completed",
        None,
    ),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_a_run_ends_as_its_lines_say(name):
    events, outcome, error_type = ENDINGS[name]
    record = only(events)
    assert record["outcome"] == outcome
    assert error_type is None or record["error_type"] == error_type


def test_figures_are_those_of_the_report_and_null_without_one():
    figures = ("duration_ms", "billed_ms", "memory_mb", "max_memory_mb", "init_ms", "cold_start")
    cold = only([start(), end(), report("Init Duration: 352.57 ms\t\n")])
    assert [cold[name] for name in figures] == [41.4, 42, 128, 71, 352.57, True]
    assert [only([start(), end()])[name] for name in figures] == [None] * 6


def test_a_run_ends_with_its_end_not_with_its_report():
    for closing in ([end(at=50), report(at=52)], [report(at=50), end(at=52)]):
        assert only([start(), *closing])["ended_at"].microsecond == 50_000


IMPORT = '{"errorType":"Runtime.ImportModuleError","errorMessage":"Error: Cannot find module"}'


def test_an_init_failure_belongs_to_the_next_start_only():
    failed = [
        event("INIT_START Runtime Version: nodejs:22.v71\tRuntime Version ARN: arn\n", 0),
        event(f"2026-11-20T06:00:00.098Z\t-\tERROR\tInit Error \t{IMPORT}\n", 100),
        event("INIT_REPORT Init Duration: 278.66 ms\tPhase: init\tStatus: error\tError Type: Runtime.X\n", 200),
        event("INIT_REPORT Init Duration: 134.30 ms\tPhase: invoke\tStatus: error\tError Type: Runtime.X\n", 300),
        *(start(at=300), end(at=300), report("Status: error\tError Type: Runtime.X\n", at=300)),
    ]
    healthy = [start(OTHER, 900), says("hello", 901, request_id=OTHER), end(OTHER, 950), report("\n", OTHER, 950)]
    first, second = records(invocations([*failed, *healthy]))
    assert (first["outcome"], first["error_type"], first["error_message"]) == (
        "init_error",
        "Runtime.X",
        "Error: Cannot find module",
    )
    assert (first["init_ms"], first["cold_start"]) == (278.66, True)
    assert second["outcome"] == "completed"


@pytest.mark.parametrize("told", ["Phase: init\tStatus: timeout", "Phase: invoke\tStatus: error\tError Type: X"])
def test_a_run_whose_handler_spoke_is_no_init_error(told):
    slow = event(f"INIT_REPORT Init Duration: 9999.00 ms\t{told}\n", 0)
    assert only([slow, start(at=1), says("hello", 2), end(), report()])["outcome"] == "completed"


def test_a_second_attempt_s_duration_is_not_taken_for_the_init_s():
    second = event("INIT_REPORT Init Duration: 134.30 ms\tPhase: invoke\tStatus: error\tError Type: X\n", 0)
    record = only([second, start(at=1), end(), report("Status: error\tError Type: X\n")])
    assert (record["outcome"], record["init_ms"], record["cold_start"]) == ("init_error", None, None)


# Suspicious lines


def forged(at=3):
    return [start(OTHER, at), end(OTHER, at), report("Status: timeout\n", OTHER, at)]


@pytest.mark.parametrize(
    ("events", "of_run", "of_none"),
    [
        (whole(*forged(), python("done", 5)), 3, 0),
        ([*whole(), *forged(900)[1:]], 0, 2),
        (whole(event("INIT_REPORT Init Duration: 1.00 ms\tPhase: invoke\tStatus: error\n", 3), says("x", 4)), 1, 0),
        (whole(TRACEBACK, python("done", 9)), 1, 0),
        (whole(says("x", 3, request_id=OTHER)), 1, 0),
        ([start(), start(at=9), end(), report()], 1, 0),
    ],
    ids=["printed run", "ends without start", "printed init", "printed traceback", "another id", "started twice"],
)
def test_lines_that_cannot_be_genuine_are_counted_and_ignored(events, of_run, of_none):
    frame = invocations(events)
    assert list(frame.request_id) == [ID]
    assert list(frame.outcome) == ["completed"]
    assert (frame.suspicious.sum(), frame.attrs["suspicious"]) == (of_run, of_none)


def test_a_start_after_a_run_that_lost_its_end_is_genuine():
    lost = [start(), says("x"), start(OTHER, 900), end(OTHER, 950), report("\n", OTHER, 950)]
    frame = invocations(lost)
    assert list(frame.outcome) == ["incomplete", "completed"]
    assert frame.suspicious.sum() == frame.attrs["suspicious"] == 0


def test_a_window_that_opens_in_mid_run_keeps_that_run():
    window = [end(), report(), start(OTHER, 900), end(OTHER, 950), report("\n", OTHER, 950)]
    assert list(invocations(window).outcome) == ["completed", "completed"]
    assert only([platform("report", 50, metrics={"durationMs": 1.5}, status="success")])["duration_ms"] == 1.5


def test_lines_of_one_instant_may_come_in_any_order():
    earlier = [start(OTHER, -90), end(OTHER, -80), report("\n", OTHER, -80)]
    for swapped in ([says("x", 0), start(), report(), end()], [end(at=0), report(at=0), start()]):
        frame = invocations([*earlier, *swapped])
        assert list(frame.outcome) == ["completed", "completed"]
        assert frame.duration_ms.notna().all()
        assert frame.suspicious.sum() == frame.attrs["suspicious"] == 0


# The JSON format


def test_system_level_warn_hides_success_and_so_a_run_without_platform_lines_completed():
    quiet = [logs("x"), logs("y", 900, request_id=OTHER), platform("report", 990, OTHER, status="timeout", metrics={})]
    assert list(invocations(quiet).outcome) == ["completed", "timeout"]
    shown = [platform("start"), logs("x")]
    assert only(shown)["outcome"] == "incomplete"


def test_in_json_the_report_tells_a_logged_error_from_a_raised_one():
    error = logs({"errorType": "TypeError", "errorMessage": "no", "stackTrace": []}, level="ERROR")
    caught = only([platform("start"), error, platform("report", 9, status="success", metrics={})])
    raised = only([platform("start"), error, platform("report", 9, status="error", errorType="TypeError", metrics={})])
    assert (caught["outcome"], caught["logged_error"], caught["error_type"]) == ("completed", "TypeError: no", None)
    assert (raised["outcome"], raised["logged_error"], raised["error_message"]) == ("error", None, "no")


def test_times_of_the_json_format_are_those_of_its_records():
    late = platform("start", 7) | {"timestamp": 1_795_154_400_009}
    assert only([late, platform("report", 20, status="success", metrics={})])["started_at"].microsecond == 7000


# Still open


def test_a_run_without_an_end_is_open_until_time_out_and_a_quiet_minute_have_passed():
    began = datetime(2026, 11, 20, 6, tzinfo=UTC)
    unfinished = [start(), says("x")]
    for seconds, found in ((0, 0), (62, 0), (63.1, 1)):
        frame = invocations(unfinished, now=began + timedelta(seconds=seconds), timeout_s=3)
        assert (len(frame), frame.attrs["open"]) == (found, 1 - found)
    assert len(invocations(unfinished)) == 1
    assert len(invocations(whole(), now=began)) == 1


def test_a_stream_s_name_may_hold_the_function_s():
    streams = [start() | {"logStreamName": f"2026/11/20/{name}[$LATEST]aa"} for name in ("", "fn")]
    random.Random(1).shuffle(streams)
    assert sorted(invocations(streams).log_stream) == ["2026/11/20/[$LATEST]aa", "2026/11/20/fn[$LATEST]aa"]

"""Log events to invocations: this library against ``pandas.Series.str.extract``, side by side in one process.

    python bench/logparse.py [INVOCATIONS]

Both read the same events: the article's handler, five lines a run. The extraction is what one would write by hand: a
pattern per fact, joined by request id. It gives no outcome, no order, no defence, and misses what the rules are for.
"""

import json
import random
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.logparse import invocations

_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_REPORT = (
    rf"^REPORT RequestId: (?P<request_id>{_ID})\tDuration: (?P<duration_ms>[\d.]+) ms\t"
    r"Billed Duration: (?P<billed_ms>\d+) ms\tMemory Size: (?P<memory_mb>\d+) MB\t"
    r"Max Memory Used: (?P<max_memory_mb>\d+) MB\t(?:Init Duration: (?P<init_ms>[\d.]+) ms)?"
)
_EVENT = (
    rf'\t(?P<request_id>{_ID})\tINFO\tdebug cognito EVENT: .*"userName":"(?P<username>[^"]*)"'
    r'.*"triggerSource":"(?P<trigger_source>[^"]*)".*"email":"(?P<email>[^"]*)"'
)
_START = rf"^START RequestId: (?P<request_id>{_ID})"


def article(count: int, seed: int = 1) -> list[dict[str, object]]:
    """Return the events of so many healthy runs of the article's handler, on one stream per 200 runs."""
    chance = random.Random(seed)
    events: list[dict[str, object]] = []
    for run in range(count):
        at = 1_795_154_400_000 + run * 700
        stream = f"2026/11/20/[$LATEST]{run // 200:032x}"
        request_id, user = (str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in range(2))
        for message in _messages(request_id, user, f"user{run}@example.org", cold=run % 200 == 0):
            number = f"{len(events):056d}"
            events.append(
                {"logStreamName": stream, "timestamp": at, "ingestionTime": at, "eventId": number, "message": message}
            )
            at += 1
    return events


def _messages(request_id: str, user: str, email: str, *, cold: bool) -> list[str]:
    event = {
        "version": "1",
        "region": "ap-southeast-1",
        "userPoolId": "ap-southeast-1_hKnIMMR91",
        "userName": user,
        "callerContext": {"awsSdkVersion": "aws-sdk-unknown-unknown", "clientId": "qms6i1n0tdphvi6r39u7tu0gt"},
        "triggerSource": "PreSignUp_SignUp",
        "request": {"userAttributes": {"email": email}, "validationData": None},
        "response": {"autoConfirmUser": False, "autoVerifyEmail": False, "autoVerifyPhone": False},
    }
    line = f"2026-11-20T06:00:00.358Z\t{request_id}\tINFO\t"
    init = "Init Duration: 352.57 ms\t" if cold else ""
    return [
        f"START RequestId: {request_id} Version: $LATEST\n",
        f"{line}debug cognito EVENT: {json.dumps(event, separators=(',', ':'))}\n",
        f"{line}#### debug variables:  {{\n  input: {{\n    id: '{user}',\n    email: '{email}'\n  }}\n}}\n",
        f"END RequestId: {request_id}\n",
        f"REPORT RequestId: {request_id}\tDuration: 41.40 ms\tBilled Duration: 42 ms\t"
        f"Memory Size: 128 MB\tMax Memory Used: 71 MB\t{init}\n",
    ]


def extracted(events: list[dict[str, object]]) -> pd.DataFrame:
    """Return the same facts by pattern, without judgement."""
    frame = pd.DataFrame(events, columns=["logStreamName", "timestamp", "message"])
    started = frame.message.str.extract(_START).join(frame[["timestamp", "logStreamName"]]).dropna()
    reported = frame.message.str.extract(_REPORT).dropna(subset="request_id")
    named = frame.message.str.extract(_EVENT).dropna(subset="request_id")
    return started.merge(reported, on="request_id", how="left").merge(named, on="request_id", how="left")


def _seconds(work: Callable[[list[dict[str, object]]], pd.DataFrame], events: list[dict[str, object]]) -> float:
    began = time.process_time()
    frame = work(events)
    seconds = time.process_time() - began
    assert len(frame) == len(events) // 5
    assert frame.username.notna().all()
    return seconds


def main() -> None:
    """Print one line of a Markdown table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 40_000
    events = article(count)
    ours, theirs = [], []
    for _ in range(5):
        ours.append(_seconds(invocations, events))
        theirs.append(_seconds(extracted, events))
    own, other = min(ours), min(theirs)
    print("| events | lib.logparse | pandas.str.extract | ratio |")
    print("|---|---|---|---|")
    print(
        f"| {len(events):,} | {own:.2f} s ({len(events) / own:,.0f}/s) | {other:.2f} s ({len(events) / other:,.0f}/s) "
        f"| {other / own:.2f} x |"
    )


if __name__ == "__main__":
    main()

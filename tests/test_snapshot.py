import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer
from pyarrow import fs
from reconcile_kit import LONG_AGO, MINUTE, SECOND, STARTED_AT, account, only, row, run, tables

from lib.config import Settings
from lib.model import FINDINGS, ROWS, NoSnapshot, PooltableError, Read, Source, Wiring, iso
from lib.snapshot import Store, folders
from lib.snapshot.seen import merge_seen
from lib.snapshot.suspicion import suspicions

WIRING = Wiring("eu-west-1_Pool1", "eu-west-1", "User-x", versioned=True, log_from=STARTED_AT - timedelta(days=30))
SETTINGS = Settings("test", user_pool_id="eu-west-1_Pool1", region="eu-west-1")


def source(count=0, *, complete=True):
    return Source(complete, None if complete else "page 4 was refused", 1, count, STARTED_AT, STARTED_AT)


def write(store, accounts=(), rows=(), invocations=(), *, complete=True, wiring=WIRING, at=STARTED_AT, written=()):
    world = tables(accounts, rows, invocations)
    reads = [
        Read(world[name], source(world[name].num_rows, complete=complete or name != "rows"))
        for name in ("accounts", "rows", "invocations")
    ]
    return store.write(*reads, wiring=wiring, settings=SETTINGS, started_at=at, written=written)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "snapshots"


@pytest.fixture
def store(path):
    return Store(str(path), "test", keep=30)


def folder_of(path, snapshot):
    return path / "test" / snapshot.stamp


def test_what_was_written_is_read_again_by_another_process(path, store):
    accounts, rows = [account("a"), account("b")], [row("a", item='{"id":{"S":"a"}}')]
    write(store, accounts, rows, [run("b")])
    latest = Store(str(path), "test", keep=30).latest()
    assert latest.table("accounts").to_pylist() == tables(accounts)["accounts"].to_pylist()
    assert latest.table("rows").to_pylist() == tables((), rows)["rows"].to_pylist()
    assert latest.wiring == WIRING
    assert [line["cause"] for line in latest.table("findings").to_pylist()] == ["silent_failure"]
    assert latest.findings["account_id"].tolist() == ["b"]
    assert latest.rows["item"].tolist() == ['{"id":{"S":"a"}}']


def test_the_manifest_is_the_contracts(path, store):
    snapshot = write(store, [account("a")], complete=False)
    manifest = json.loads((folder_of(path, snapshot) / "manifest.json").read_text())
    assert manifest["schema"] == 1
    assert (manifest["environment"], manifest["complete"]) == ("test", False)
    assert manifest["reasons"] == ["page 4 was refused"]
    assert manifest["sources"]["rows"]["started_at"] == iso(STARTED_AT)
    assert manifest["wiring"]["log_from"] == iso(STARTED_AT - timedelta(days=30))
    assert len(manifest["digest"]) == 64


def test_a_snapshot_of_nothing_is_one_too(store):
    snapshot = write(store)
    assert snapshot.manifest["complete"]
    assert not snapshot.manifest["suspicious"]
    assert snapshot.table("pairs").num_rows == 0
    assert snapshot.findings.empty
    assert snapshot.table("pairs").schema == FINDINGS


def test_only_its_owner_may_look_inside(path, store):
    folder = folder_of(path, write(store, [account("a")]))
    assert {stat.S_IMODE(made.stat().st_mode) for made in folder.iterdir()} == {0o600}
    assert {stat.S_IMODE(made.stat().st_mode) for made in (folder, *folder.parents[:3])} == {0o700}


def test_snapshots_are_named_by_their_start_and_never_collide(path, store):
    stamps = [write(store).stamp for _ in range(3)]
    assert stamps == ["20261122T060000.000Z", "20261122T060000.001Z", "20261122T060000.002Z"]
    assert store.latest().stamp == stamps[-1]
    assert [snapshot.stamp for snapshot in store.history()] == stamps[::-1]


def test_environments_do_not_see_each_others_snapshots(path):
    write(Store(str(path), "a=b/../c", keep=30), [account("a")])
    assert Store(str(path), "a=b/../c", keep=30).latest().accounts["username"].tolist() == ["a"]
    with pytest.raises(NoSnapshot, match="refresh --env c"):
        Store(str(path), "c", keep=30).latest()
    assert [made.parent for made in path.iterdir()] == [path]


def test_without_a_snapshot_there_is_nothing_to_show(store):
    assert store.history() == []
    assert store.last_complete() is None
    with pytest.raises(NoSnapshot):
        store.latest()


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "manifest.json").write_text('{"schema": 1, "comp'),
        lambda folder: (folder / "manifest.json").write_text('{"schema": 2}'),
        lambda folder: (folder / "manifest.json").write_text("[]"),
        lambda folder: (folder / "rows.parquet").unlink(),
        lambda folder: (folder / "rows.parquet").write_bytes(b"PAR1"),
        lambda folder: os.truncate(folder / "accounts.parquet", 100),
    ],
)
def test_a_damaged_snapshot_is_skipped_and_the_last_good_one_used(path, store, damage):
    good = write(store, [account("good")])
    damage(folder_of(path, write(store, [account("bad")])))
    assert store.latest().stamp == good.stamp
    assert store.last_complete().stamp == good.stamp


def test_a_write_that_dies_half_way_leaves_no_snapshot(path, store, monkeypatch):
    good = write(store)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folders.os, "fsync", full)
    with pytest.raises(PooltableError, match="No space left on device"):
        write(store, [account("a")])
    assert [made.name for made in (path / "test").iterdir()] == [good.stamp]


def test_what_a_killed_process_left_behind_is_ignored_and_goes_after_a_day(path, store):
    write(store)
    fresh, old = path / "test" / ".x.part", path / "test" / ".y.part"
    fresh.mkdir()
    old.mkdir()
    os.utime(old, (0, 0))
    write(store)
    assert fresh.exists()
    assert not old.exists()
    assert len(store.history()) == 2


def test_the_oldest_go_but_never_the_latest_complete_one(path):
    store = Store(str(path), "test", keep=2)
    write(store, at=STARTED_AT - MINUTE)
    complete = write(store)
    later = [write(store, complete=False, at=STARTED_AT + n * MINUTE) for n in (1, 2, 3)]
    assert [snapshot.stamp for snapshot in store.history()] == [later[2].stamp, later[1].stamp, complete.stamp]


def test_many_writers_at_once_lose_nothing(store):
    with ThreadPoolExecutor(4) as pool:
        stamps = set(pool.map(lambda name: write(store, [account(name)]).stamp, "abcd"))
    assert len(stamps) == 4
    assert {snapshot.accounts["username"][0] for snapshot in store.history()} == set("abcd")


def test_two_that_chose_the_same_stamp_both_keep_theirs(path, monkeypatch):
    first = write(Store(str(path), "test", keep=30), [account("a")])
    monkeypatch.setattr(folders.Folders, "stamps", lambda self: [])
    second = write(Store(str(path), "test", keep=30), [account("b")])
    monkeypatch.undo()
    history = Store(str(path), "test", keep=30).history()
    assert [snapshot.accounts["username"][0] for snapshot in history] == ["b", "a"]
    assert first.stamp < second.stamp


def test_the_digest_binds_to_what_was_read_and_to_nothing_else(path, store):
    one, same = write(store, [account("a")]), write(Store(str(path), "b", 30), [account("a")], at=STARTED_AT + MINUTE)
    other = write(Store(str(path), "c", 30), [account("a", email="b@mail.test")])
    assert one.manifest["digest"] == same.manifest["digest"] != other.manifest["digest"]


def test_queries_see_the_tables_and_nothing_else(tmp_path, store):
    snapshot = write(store, [account("a"), account("b")], [row("a")])
    assert snapshot.sql("select count(*) as n from Accounts join rows on id = username")["n"].tolist() == [1]
    counted = snapshot.sql("select situation, count(*) as n from pairs where account_id <> $name group by 1", name="a")
    assert counted.to_dict("records") == [{"situation": "orphaned_account", "n": 1}]
    assert str(snapshot.sql("select created_at from accounts").created_at.dt.tz) == "UTC"
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    for refused in (f"from '{secret}'", f"copy accounts to '{secret}'", "install httpfs", "from secret_frame"):
        with pytest.raises(duckdb.Error):
            snapshot.sql(refused)
    snapshot.sql("create or replace temp table x as select 1 as one")
    assert snapshot.sql("select count(*) as n from accounts")["n"].tolist() == [2]


def test_threads_may_share_a_snapshot(store):
    snapshot = write(store, [account("a"), account("b")], [row("a")])
    with ThreadPoolExecutor(8) as pool:
        counts = pool.map(lambda _: snapshot.sql("select count(*) as n from pairs")["n"][0], range(32))
    assert set(counts) == {2}


@pytest.fixture
def bucket(monkeypatch):
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_REGION": "us-east-1"}
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    for name, value in (keys | {"AWS_ENDPOINT_URL": "http://{}:{}".format(*server.get_host_and_port())}).items():
        monkeypatch.setenv(name, value)
    files, _ = fs.FileSystem.from_uri("s3://snapshots?allow_bucket_creation=true")
    files.create_dir("snapshots")
    yield files
    server.stop()


def test_in_s3_a_folder_without_manifest_does_not_exist(bucket):
    store = Store("s3://snapshots/our/own", "test", keep=2)
    stamps = [write(store, [account(name)], at=STARTED_AT + n * MINUTE).stamp for n, name in enumerate("abc")]
    assert [snapshot.stamp for snapshot in store.history()] == [stamps[2], stamps[1]]
    assert store.latest().accounts["username"].tolist() == ["c"]
    bucket.delete_file(f"snapshots/our/own/test/{stamps[2]}/manifest.json")
    assert store.latest().sql("select username from accounts")["username"].tolist() == ["b"]


# -- the overlay


def of(snapshot, **facts):
    return only(snapshot.table("pairs").to_pylist(), **facts)


def one_row(*args, **facts):
    return pa.Table.from_pylist([row(*args, **facts)], schema=ROWS)


def test_a_created_row_shows_its_account_in_sync_and_says_when_that_was_confirmed(store):
    snapshot = write(store, [account("a"), account("b")])
    at = STARTED_AT + MINUTE + timedelta(milliseconds=123)
    view = snapshot.with_rows({"a": one_row("a")}, {"a": at})
    assert view.table("findings")["account_id"].to_pylist() == ["b"]
    line = of(view, account_id="a")
    assert (line["situation"], line["notes"]) == ("in_sync", ["repaired"])
    assert line["reason"] == "Repaired, confirmed at 2026-11-22T06:01:00.123Z."
    assert of(view, account_id="b")["notes"] == []
    assert view.rows["id"].tolist() == ["a"]
    assert snapshot.table("findings").num_rows == 2
    assert snapshot.rows.empty


@pytest.mark.parametrize(
    ("correlation", "row_id"), [("username", "a"), ("sub", "sub-a"), ("email", "x"), ("owner", "x")]
)
def test_an_undone_row_leaves_its_account_an_orphan_again(store, correlation, row_id):
    wiring = Wiring(**{**vars(WIRING), "correlation": correlation})
    world = [account("a")], [row(row_id, email="a@mail.test", owner="a")]
    snapshot = write(store, *world, wiring=wiring)
    assert of(snapshot)["situation"] == "in_sync"
    view = snapshot.with_rows({row_id: None}, {row_id: STARTED_AT + MINUTE})
    line = of(view)
    assert (line["situation"], line["notes"]) == ("orphaned_account", ["repaired"])
    assert line["reason"].endswith(" Repaired, confirmed at 2026-11-22T06:01:00.000Z.")


def test_a_view_of_a_view_keeps_what_was_confirmed_before(store):
    snapshot = write(store, [account("a"), account("b")])
    first = snapshot.with_rows({"a": one_row("a")}, {"a": STARTED_AT + MINUTE})
    second = first.with_rows({"b": one_row("b", email="z@mail.test")}, {"b": STARTED_AT + 2 * MINUTE})
    assert of(second, account_id="a")["notes"] == ["repaired"]
    line = of(second, account_id="b")
    assert line["situation"] == "drift"
    assert line["reason"] == "The account's e-mail is not the row's. Repaired, confirmed at 2026-11-22T06:02:00.000Z."


# -- what earlier snapshots knew


def test_a_row_that_vanished_was_deleted_and_so_was_an_account(store):
    write(store, [account("a"), account("b")], [row("a"), row("b")], at=STARTED_AT - MINUTE)
    snapshot = write(store, [account("a")], [row("b")])
    assert of(snapshot, account_id="a")["cause"] == "row_deleted"
    assert of(snapshot, row_id="b")["cause"] == "account_deleted"


@pytest.mark.parametrize("correlation", ["sub", "owner", "email"])
def test_what_vanished_is_known_however_rows_are_matched(store, correlation):
    wiring = Wiring(**{**vars(WIRING), "correlation": correlation})
    both = [account("a"), account("b")], [row("sub-a", owner="sub-a::a"), row("sub-b", owner="b")]
    both = (
        both[0],
        [made | {"email": f"{made['id'][-1]}@m", "email_key": f"{made['id'][-1]}@mail.test"} for made in both[1]],
    )
    write(store, *both, wiring=wiring, at=STARTED_AT - MINUTE)
    snapshot = write(store, both[0][:1], both[1][1:], wiring=wiring)
    assert of(snapshot, account_id="a")["cause"] == "row_deleted"
    assert of(snapshot, row_id="sub-b")["cause"] == "account_deleted"


def test_what_another_pool_held_proves_nothing_here(store):
    write(store, [account("a")], [row("a")], wiring=Wiring("eu-west-1_Old", "eu-west-1", "User-x"))
    snapshot = write(store, [account("a")], at=STARTED_AT + MINUTE)
    assert of(snapshot, account_id="a")["cause"] == "not_invoked"


def test_a_row_that_the_journal_read_back_counts_as_seen(store):
    snapshot = write(store, [account("a")], written=[("a", STARTED_AT)])
    assert of(snapshot, account_id="a")["cause"] == "row_deleted"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sets(st.sampled_from("abc")), st.sets(st.sampled_from("abc"))), max_size=4))
def test_each_id_is_known_once_from_its_first_to_its_last_read(reads):
    known = None
    for number, (accounts, rows) in enumerate(reads):
        world = tables(map(account, sorted(accounts)), map(row, sorted(rows)))
        known = merge_seen(known, world["accounts"], world["rows"], LONG_AGO + number * SECOND, correlation="username")
    for kind, side in (("account", 0), ("row", 1)):
        for name in "abc":
            times = [LONG_AGO + n * SECOND for n, read in enumerate(reads) if name in read[side]]
            facts = [f for f in (known.to_pylist() if known else []) if (f["kind"], f["id"]) == (kind, name)]
            assert [(f["first_seen"], f["last_seen"]) for f in facts] == ([(times[0], times[-1])] if times else [])


# -- suspicious reads


def many(count, make, start=0, **facts):
    return [make(f"u{number}", **facts) for number in range(start, start + count)]


def doubts(accounts, rows, previous=None, wiring=WIRING, **numbers):
    world = tables(accounts, rows)
    limits = {"max_shrink_percent": 20, "min_overlap_percent": 50} | numbers
    return suspicions(world["accounts"], world["rows"], wiring, previous, **limits)


def before(accounts, rows, **wiring):
    facts = WIRING.manifest() | wiring
    return {"wiring": facts, "sources": {"accounts": {"count": accounts}, "rows": {"count": rows}}}


@pytest.mark.parametrize(
    ("accounts", "rows", "previous", "expected"),
    [
        ([], [], None, []),
        (many(3, account), [], None, ["no living row"]),
        ([], many(3, row), None, ["no account"]),
        ([], many(3, row, deleted=True), None, []),
        (many(3, account), many(3, row, deleted=True), None, ["no living row"]),
        (many(20, account), many(20, row, start=11), None, ["Only 9 of 20 match"]),
        (many(20, account), many(20, row, start=10), None, []),
        (many(19, account), many(20, row, start=100), None, []),
        (many(20, account), many(40, row, start=10), None, []),
        (many(40, account), many(40, row), before(50, 50), []),
        (many(39, account), many(40, row), before(50, 50), ["accounts shrank from 50 to 39"]),
        (many(40, account), many(39, row), before(50, 50), ["rows shrank from 50 to 39"]),
        (many(1, account), many(1, row), before(10, 10), []),
        (many(1, account), many(1, row), before(1, 1, table="User-y"), ["table is User-x"]),
        (many(1, account), many(1, row), before(1, 1, pool="eu-west-1_P"), ["pool is eu-west-1_Pool1"]),
        (many(1, account), many(1, row), before(1, 1, table=None), []),
    ],
)
def test_a_read_is_suspicious_when_it_is_empty_foreign_or_shrunken(accounts, rows, previous, expected):
    found = doubts(accounts, rows, previous)
    assert len(found) == len(expected)
    assert all(part in sentence for part, sentence in zip(expected, found, strict=True))


@pytest.mark.parametrize("correlation", ["username", "sub", "owner", "email", None])
def test_sides_that_match_are_no_strangers_whatever_they_are_matched_by(correlation):
    wiring = Wiring(**{**vars(WIRING), "correlation": correlation})
    accounts = many(20, account)
    ids = {"sub": "sub-u{}", "email": "x{}", "owner": "x{}", None: "sub-u{}"}.get(correlation, "u{}")
    rows = [
        row(ids.format(n), email=f"u{n}@mail.test", owner=f"sub-u{n}::u{n}" if n % 2 else f"u{n}") for n in range(20)
    ]
    assert doubts(accounts, rows, wiring=wiring) == []
    strangers = [made | {"id": "y" + made["id"], "owner": None, "email_key": None} for made in rows]
    assert len(doubts(accounts, strangers, wiring=wiring)) == 1


def test_an_incomplete_read_is_called_incomplete_not_suspicious(store):
    write(store, many(30, account), many(30, row))
    snapshot = write(store, many(30, account), [], complete=False)
    assert (snapshot.manifest["complete"], snapshot.manifest["suspicious"]) == (False, False)
    shrunken = write(store, many(30, account), many(15, row))
    assert shrunken.manifest["suspicious"]
    assert "rows shrank from 30 to 15" in shrunken.manifest["reasons"][0]

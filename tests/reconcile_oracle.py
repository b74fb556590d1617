"""Situations, causes and duplicates, slowly and plainly: written from the rules, to compare the SQL with."""

from datetime import UTC, datetime, timedelta

from lib.model import HEALTHY, email_key

S = timedelta(seconds=1)
NEVER = datetime(1, 1, 1, tzinfo=UTC)
FAULTS = {
    "error": "trigger_error",
    "timeout": "trigger_timeout",
    "oom": "trigger_out_of_memory",
    "exit": "trigger_exit",
    "incomplete": "trigger_incomplete",
}
EVIDENCE = {"logs_unavailable": "unknown", "unknown": "unknown"} | dict.fromkeys(
    ("api_key_expired", "admin_created", "imported", "federated", "trigger_init_error"), "inferred"
)


class Oracle:
    """A world as lists of dicts, and times as datetimes; `lines` judges it."""

    def __init__(
        self, accounts, rows, invocations, seen, *, correlation, trigger, versioned, started_at, grace, **logs
    ):
        self.accounts, self.rows, self.invocations, self.seen = accounts, rows, invocations, seen
        self.correlation, self.trigger, self.versioned = correlation, trigger, versioned
        self.young_after = started_at - grace
        self.log_from, self.keys = logs["log_from"], logs["keys"]

    # -- pairing

    def account_key(self, account):
        key = {"sub": account["sub"], "email": account["email_key"]}.get(self.correlation, account["username"])
        return key or None

    def row_key(self, row):
        if self.correlation == "email":
            return row["email_key"] or None
        if self.correlation != "owner":
            return row["id"] or None
        for account in self.accounts:
            if account["sub"] is not None and row["owner"] == f"{account['sub']}::{account['username']}":
                return account["username"]
        return row["owner"] or None

    def pairs(self):
        """Every (account, row, further) with None for a missing side; further = (account, row) that came first."""
        by_key = {}
        loose = [(account, None, None) for account in self.accounts if self.account_key(account) is None]
        loose += [(None, row, None) for row in self.rows if self.row_key(row) is None]
        for account in self.accounts:
            if self.account_key(account) is not None:
                by_key.setdefault(self.account_key(account), ([], []))[0].append(account)
        for row in self.rows:
            if self.row_key(row) is not None:
                by_key.setdefault(self.row_key(row), ([], []))[1].append(row)
        for accounts, rows in by_key.values():
            accounts.sort(key=lambda a: (a["created_at"] is None, a["created_at"] or NEVER, a["username"]))
            rows.sort(key=lambda r: (bool(r["deleted"]), r["created_at"] is None, r["created_at"] or NEVER, r["id"]))
            for position in range(max(len(accounts), len(rows))):
                account = accounts[position] if position < len(accounts) else None
                row = rows[position] if position < len(rows) else None
                further = (accounts[0], rows[0]) if accounts and account is None else None
                loose.append((account, row, further))
        return loose

    # -- situations

    def is_young(self, *times):
        return any(time is not None and time > self.young_after for time in times)

    def is_malformed(self, account, row):
        marks = {"email_not_text", "deleted_not_boolean", "ttl_in_milliseconds"}
        marks |= {"owner_not_text"} if self.correlation == "owner" else set()
        marks |= {"id_not_text"} if self.correlation in ("username", "sub") else set()
        lacks = account and account["email_key"] and not row["email_key"] and not row["deleted"]
        return bool(marks & set(row["notes"] or ()) or self.row_key(row) is None or lacks)

    def situation(self, account, row):
        if row and self.is_malformed(account, row):
            return "malformed_row"
        if row and row["deleted"]:
            return "tombstone" if account else None
        if account and not row:
            if self.is_young(account["created_at"], account["modified_at"]):
                return "in_flight"
            if self.trigger == "post_confirmation" and account["status"] == "UNCONFIRMED":
                return "out_of_scope"
            return "orphaned_account"
        if row and not account:
            return "in_flight" if self.is_young(row["created_at"]) else "orphaned_row"
        if self.versioned and row["version"] is None:
            return "unversioned_row"
        if account["email_key"] and row["email_key"] and account["email_key"] != row["email_key"]:
            return "drift"
        return "in_sync"

    # -- causes

    def groups(self, named):
        """Retry groups of the invocations that `named` picks, each a list in order of start."""
        runs = {}
        for run in self.invocations:
            source = run["trigger_source"] or ""
            counts = source.startswith("PreSignUp_") or source == "PostConfirmation_ConfirmSignUp"
            if self.log_from and counts and run["started_at"] and run["username"] is not None and named(run):
                runs.setdefault((run["username"], source), []).append(run)
        groups = []
        for same in runs.values():
            same.sort(key=lambda run: (run["started_at"], run["request_id"] or ""))
            group = []
            for run in same:
                if group and (len(group) == 3 or run["started_at"] - group[-1]["started_at"] > 9 * S):
                    groups.append(group)
                    group = []
                group.append(run)
            groups.append(group)
        return groups

    def account_group(self, account):
        def named(run):
            if account["status"] == "EXTERNAL_PROVIDER":
                return folded(run["username"]) == folded(account["username"])
            return run["username"] == account["username"]

        created = account["created_at"]
        groups = [g for g in self.groups(named) if created and g[-1]["started_at"] >= created - 10 * S]
        return last(groups)

    def row_group(self, row):
        key = self.row_key(row)

        def named(run):
            if self.correlation == "email":
                return email_key(run["email"]) == key
            name = key.split("::", 1)[1] if self.correlation == "owner" and "::" in key else key
            return run["username"] == name

        def ended(group):
            return max(run["ended_at"] or run["started_at"] for run in group)

        created = row["created_at"]
        return last([g for g in self.groups(named) if created is None or ended(g) >= created - 10 * S])

    def row_seen(self, account):
        ids = {self.account_key(account)}
        if self.correlation == "owner" and account["sub"] is not None:
            ids.add(f"{account['sub']}::{account['username']}")
        created = account["created_at"]
        return any(
            fact["kind"] == "row" and fact["id"] in ids and (not created or fact["last_seen"] >= created - 10 * S)
            for fact in self.seen
        )

    def key_had_expired(self, started_at):
        before = [key for key in self.keys if key["seen_at"] <= started_at]
        after = [key for key in self.keys if key["seen_at"] > started_at]
        if not self.keys:
            return False
        at = max(k["seen_at"] for k in before) if before else min(k["seen_at"] for k in after)
        facts = [key for key in self.keys if key["seen_at"] == at]
        return all(key["expires_at"] is not None and key["expires_at"] < started_at for key in facts)

    def waits(self, account, row):
        """No row, no run of the trigger, never had a row: a start failure may explain it."""
        lacks = self.situation(account, row) in ("orphaned_account", "in_flight") and account and not row
        return bool(lacks and not self.account_group(account) and not self.row_seen(account))

    def near(self, account, failure):
        times = [time for time in (account["created_at"], account["modified_at"]) if time]
        return any(abs(time - failure["started_at"]) <= 10 * S for time in times)

    def own_failures(self, account):
        waiting = [a for a, r, _ in self.pairs() if self.waits(a, r)]
        failures = [
            run
            for run in self.invocations
            if self.log_from and run["outcome"] == "init_error" and run["username"] is None and run["started_at"]
        ]
        mine = [failure for failure in failures if self.near(account, failure)]
        return [f for f in mine if sum(self.near(other, f) for other in waiting) == 1]

    def account_cause(self, account):
        if self.row_seen(account):
            return "row_deleted"
        group = self.account_group(account)
        if group:
            run = group[-1]
            if run["outcome"] in FAULTS:
                return FAULTS[run["outcome"]]
            if run["outcome"] == "init_error":
                return "trigger_init_error"
            if run["logged_error"] is not None:
                return "trigger_error"
            return "api_key_expired" if self.key_had_expired(run["started_at"]) else "silent_failure"
        if not self.log_from or not account["created_at"] or account["created_at"] < self.log_from:
            return "logs_unavailable"
        if account["status"] in ("FORCE_CHANGE_PASSWORD", "RESET_REQUIRED"):
            return {"FORCE_CHANGE_PASSWORD": "admin_created", "RESET_REQUIRED": "imported"}[account["status"]]
        if account["status"] == "EXTERNAL_PROVIDER" or '"identities":' in (account["attributes"] or ""):
            return "federated"
        return "trigger_init_error" if self.own_failures(account) else "not_invoked"

    def row_cause(self, row, further):
        key, group = self.row_key(row), self.row_group(row)
        if not further and any(fact["kind"] == "account" and fact["id"] == key for fact in self.seen):
            return "account_deleted"
        if not group:
            return "unknown"
        if any(run["ended_at"] and run["ended_at"] - run["started_at"] > 5 * S for run in group):
            return "late_write"
        email = row["email_key"] or email_key(group[-1]["email"])
        if email and any(a["email_key"] == email and self.account_key(a) != key for a in self.accounts):
            return "repeat_sign_up"
        return "unknown" if further else "sign_up_rejected"

    # -- all together

    def lines(self):
        judged = [(a, r, further, self.situation(a, r)) for a, r, further in self.pairs()]
        judged = [line for line in judged if line[3]]
        holders = {}
        for number, (account, row, _, situation) in enumerate(judged):
            emails = {account["email_key"]} if account else set()
            if row and not row["deleted"] and situation != "malformed_row":
                emails.add(row["email_key"])
            for key in emails - {None}:
                holders.setdefault(key, []).append((number, account["username"] if account else row["id"]))
        lines = [self.line(number, *line, holders) for number, line in enumerate(judged)]
        for key, held in holders.items():
            if len(held) > 1:
                lines.append(blank() | {"situation": "duplicate", "email": key, "twins": sorted(i for _, i in held)})
        return lines

    def line(self, number, account, row, further, situation, holders):
        line = blank() | {"situation": situation}
        if account:
            line |= {"account_id": account["username"], "email": account["email"]}
        if row:
            line |= {"row_id": row["id"], "row_email": row["email"]}
        if situation not in HEALTHY:
            mine = [held for held in holders.values() if number in dict(held)]
            line["twins"] = sorted(name for n, name in {pair for held in mine for pair in held} if n != number)
        if account and row and account["email_key"] and account["email_key"] == row["email_key"]:
            line["also_case_only"] = account["email"] != row["email"]
        group = None
        if situation == "orphaned_account":
            line["cause"], group = self.account_cause(account), self.account_group(account)
        elif situation == "orphaned_row":
            line["cause"], group = self.row_cause(row, further), self.row_group(row)
        if line["cause"]:
            line["evidence"] = EVIDENCE.get(line["cause"], "observed")
        if group:
            line["request_ids"] = [run["request_id"] for run in group if run["request_id"] is not None]
            line |= {"attempts": len(group), "last_outcome": group[-1]["outcome"]}
            line["trigger_source"] = group[-1]["trigger_source"]
        if line["cause"] == "trigger_init_error" and not group:
            line |= {"attempts": len(self.own_failures(account)), "last_outcome": "init_error"}
        return line


def blank():
    nothing = ("cause", "evidence", "account_id", "row_id", "email", "row_email", "trigger_source", "attempts")
    return dict.fromkeys((*nothing, "last_outcome")) | {"twins": [], "request_ids": [], "also_case_only": False}


def folded(name):
    prefix, mark, rest = name.partition("_")
    return prefix.lower() + mark + rest if mark else name


def last(groups):
    """The group that started last; of those that started together, trigger source and name decide, then the later."""
    order = enumerate(groups)
    order = sorted(order, key=lambda g: (g[1][0]["trigger_source"], g[1][0]["username"], -g[0]))
    return max((group for _, group in order), key=lambda group: group[0]["started_at"], default=None)

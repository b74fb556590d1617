"""A run and its steps, as the journal is given them."""

RUN = {
    "environment": "prod",
    "pool": "eu-west-1_a",
    "table": "User",
    "kind": "apply",
    "undo_of": None,
    "who": "ana",
    "why": "backfill",
    "snapshot": "20260101T000000Z",
    "digest": "d1",
    "plan": {"writer": "appsync"},
    "plan_digest": "p1",
}
ITEM = {"id": {"S": "a\"'\u202e\x00😀"}, "email": {"S": "=1+1@mail.test"}, "n": {"N": "1E+40"}}


def step(number=1, **changed):
    return {
        "number": number,
        "action": "create_row",
        "situation": "orphaned_account",
        "account_id": f"user{number}",
        "sub": f"sub{number}",
        "row_id": f"user{number}",
        "account": {"sub": f"sub{number}"},
        "before": None,
        "after": ITEM,
        "condition": "attribute_not_exists(id)",
        "reason": "no row",
    } | changed

"""Signs somebody up in the world's own process: through the project's trigger, then into the pool."""

import io
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from moto.cognitoidp.models import cognitoidp_backends
from moto.core.models import DEFAULT_ACCOUNT_ID
from werkzeug.wrappers import Response

from lib import trigger
from lib.demo.history import log_event
from lib.demo.loglines import TIMEOUT_S, Execution, Line, cognito_event, end_lines
from lib.demo.seeding import add_account, has_row, put_events
from lib.demo.sign_up import Failure, SignUp
from lib.demo.story import SIGN_UP, Account
from lib.model import email_key

if TYPE_CHECKING:
    from lib.demo.world import World


def perform(world: "World", email: str | None = None, fail: Failure | None = None) -> SignUp:
    """Sign somebody up as Cognito does: first the trigger, under the username to be, then the account.

    An e-mail that another account has is refused only after the trigger has written its row, as in any e-mail pool.
    """
    username = str(uuid.uuid4())
    email = email or f"guest{username[:6]}@mail.test"
    event = cognito_event(
        region=world.facts.region,
        pool=world.facts.pool,
        client=world.facts.client_id,
        username=username,
        source=SIGN_UP,
        attributes={"email": email},
    )
    run_trigger(world, event, _environment(world, fail))
    if not _create_account(world, username, email):
        return SignUp(username, email, "refused")
    written = has_row(world.facts.region, world.facts.table, username)
    return SignUp(username, email, "in_sync" if written else "no_row")


def _environment(world: "World", fail: Failure | None) -> Mapping[str, str]:
    key = world.keys["expired" if fail == "key_expired" else "renewed"]
    broken = {"time_out": "late", "api_error": "failing"}.get(str(fail))
    url = f"{world.facts.url}/_demo/{broken}" if broken else None
    return world.trigger_environment(world.facts.region, key, url)


@dataclass
class _Context:
    """What Lambda tells the trigger about its run."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        return TIMEOUT_S * 1000


def run_trigger(world: "World", event: dict[str, object], environ: Mapping[str, str]) -> None:
    """Run the trigger, and log the run as Lambda would."""
    request_id, said = str(uuid.uuid4()), _Lines()
    started_ms = time.time_ns() // 1_000_000
    trigger.sync(event, _Context(request_id), environ, said)
    run = Execution(request_id, started_ms, max(time.time_ns() / 1_000_000 - started_ms, 1.0))
    lines = [Line(started_ms, f"START RequestId: {request_id} Version: $LATEST\n"), *said.lines, *end_lines(run)]
    stream = f"{datetime.now(UTC):%Y/%m/%d}/[$LATEST]{uuid.uuid4().hex}"
    events = [log_event(stream, line.at_ms, line.message, number) for number, line in enumerate(lines)]
    put_events(world.facts.region, world.facts.log_group, stream, events)


class _Lines(io.StringIO):
    """What the trigger prints, with the moment at which it was printed."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Line] = []

    def write(self, text: str) -> int:
        self.lines.append(Line(time.time_ns() // 1_000_000, text))
        return len(text)


def _create_account(world: "World", username: str, email: str) -> bool:
    """Make the account unless its e-mail is taken; federated accounts hold theirs besides."""
    pool = cognitoidp_backends[DEFAULT_ACCOUNT_ID][world.facts.region].user_pools[world.facts.pool]
    natives = [user for user in list(pool.users.values()) if user.status != "EXTERNAL_PROVIDER"]
    if email_key(email) in {email_key(user.attribute_lookup.get("email")) for user in natives}:
        return False
    moment = datetime.now(UTC)
    attributes = {"sub": username, "email": email, "email_verified": "false"}
    add_account(pool, Account(username, attributes, "UNCONFIRMED", True, moment, moment))
    return True


def _late() -> Response:
    # Later than the trigger's budget, so it has given up by then; nothing was done.
    time.sleep(trigger.BUDGET_S + 1)
    return Response("Gateway Time-out", 504)


def _failing() -> Response:
    return Response("<html><body><h1>500</h1></body></html>", 500, mimetype="text/html")


BROKEN_APIS: Mapping[str, Callable[[], Response]] = {"late": _late, "failing": _failing}
"""APIs that a sign-up can be sent to, by the last part of their path."""

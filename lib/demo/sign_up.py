"""The live sign-up: somebody joins the running demo, through the project's own trigger."""

from dataclasses import dataclass
from typing import Literal

from lib.config import Settings
from lib.demo.running import Facts, ask

Failure = Literal["key_expired", "time_out", "api_error"]
FAILURES: tuple[Failure, ...] = ("key_expired", "time_out", "api_error")
Outcome = Literal["in_sync", "no_row", "refused"]


@dataclass(frozen=True)
class SignUp:
    """A live sign-up: `in_sync` account and row, `no_row` the account alone, `refused` no account."""

    username: str
    email: str
    outcome: Outcome


def sign_up(world: Settings | Facts, *, email: str | None = None, fail: Failure | None = None) -> SignUp:
    """Sign somebody up in the world behind these settings, whichever process it runs in; takes up to some 5 s.

    ``email`` is made up unless given. ``fail`` says what befalls the call to the API: its key has expired, its answer
    comes too late, or it answers 500.
    """
    url = world.url if isinstance(world, Facts) else str(world.endpoint_url)
    return SignUp(**ask(url, "sign-up", {"email": email, "fail": fail}))

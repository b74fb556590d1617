"""The demo's control that signs somebody up, to see the dashboard notice."""

import streamlit as st

from lib import display
from lib.demo import sign_up
from lib.environment import Environment
from lib.model import PooltableError

_CHOICES: dict[sign_up.Failure | None, str] = {
    None: "Everything works",
    "key_expired": "The API key has expired",
    "time_out": "The API answers too late",
    "api_error": "The API answers with an error",
}
_SAID = {
    "in_sync": "got an account and a row.",
    "no_row": "got an account, but no row.",
    "refused": "was refused: no account.",
}


def control(env: Environment) -> None:
    """Show the control where the environment is an embedded world; nothing elsewhere."""
    if not env.embedded:
        return
    with st.popover("Sign someone up", icon=":material/person_add:"):
        st.caption("A real sign-up: the account, the trigger, its API call, its log lines.")
        failure = st.radio("What happens", list(_CHOICES), format_func=lambda name: _CHOICES[name], key="frame_failure")
        if st.button("Sign up", key="frame_sign_up"):
            _sign_up(env, failure)


def _sign_up(env: Environment, failure: sign_up.Failure | None) -> None:
    with st.spinner("The trigger runs"):
        try:
            done = sign_up.sign_up(env.settings, fail=failure)
        except PooltableError as error:
            st.text(display.safe(str(error)))
            return
    said(done)


def said(done: sign_up.SignUp) -> None:
    """Show what came of a sign-up."""
    st.text(f"{display.mask_email(done.email)} {_SAID[done.outcome]}")
    st.caption("Refresh to see it: in flight for its first 15 minutes, since the row may still come.")

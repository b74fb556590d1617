"""The permissions on the Wiring page: those that are missing, by name, and the policy to copy."""

from collections.abc import Sequence

import streamlit as st

from lib import display
from lib.aws import policy
from lib.aws.discovery import Check
from lib.model import Wiring
from lib.ui import frame, twins

_FOR = {"read": "To read", "repair": "To read and repair"}


def card(opened: frame.Opened, wiring: Wiring, checks: Sequence[Check]) -> None:
    """Show which permissions this role was found to lack, and the least-privilege policy for this chain."""
    with st.container(gap="small"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.subheader("Permissions", anchor=False, width="content")
            chosen = st.segmented_control(
                "The policy allows",
                list(_FOR),
                format_func=_FOR.__getitem__,
                default="read",
                required=True,
                key="wiring_policy",
                label_visibility="collapsed",
            )
        _missing(opened, wiring, checks)
        found = opened.env.policy(wiring, repair=chosen == "repair")
        for sentence in found.left_out:
            st.caption(display.safe(sentence))
        with st.expander("Least-privilege IAM policy for this chain", icon=":material/policy:"):
            st.code(display.mask_emails(found.text()), language="json", height=380)
            st.caption("Same on the command line:")
            st.code(twins.policy(opened.env.name, repair=chosen == "repair"), language="bash")


def _missing(opened: frame.Opened, wiring: Wiring, checks: Sequence[Check]) -> None:
    said = [*opened.snapshot.manifest["reasons"], *wiring.warnings, *(check.cause for check in checks)]
    actions = policy.missing(said)
    if not actions:
        st.text("Nothing that was asked for was denied to this role. What a write may do shows when it is tried.")
        return
    st.markdown(f":orange[:material/lock:] **Missing:** {', '.join(f'`{action}`' for action in actions)}")

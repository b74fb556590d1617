"""A first environment from the browser: profile and region, then the pools, then the `pooltable.toml` of `init`."""

from collections.abc import Callable

import streamlit as st

from lib import display, set_up
from lib.aws import pools
from lib.aws.pools import PoolFacts
from lib.config import is_loopback
from lib.environment import Environment
from lib.model import PooltableError

_LISTED = "set_up_listed"
_OWN_CHAIN = "The AWS CLI's own choice"
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip")


def control(env: Environment, connected: Callable[[], None], *, busy: bool) -> None:
    """Show the button where nothing is configured and nobody else can reach this server; nothing elsewhere.

    ``connected`` is called once the file is written; ``busy`` is whether the button has to wait.
    """
    if not _offered(env):
        return
    if st.button("Connect your AWS", icon=":material/add_link:", type="tertiary", disabled=busy, key="frame_connect"):
        st.session_state.pop(_LISTED, None)
        _dialog(env, connected)


def _offered(env: Environment) -> bool:
    return env.config.file is None and env.embedded and _only_this_machine()


def _only_this_machine() -> bool:
    """Return whether the server listens, and this visitor came, on this machine only: no proxy in between."""
    headers = st.context.headers
    came_here = is_loopback(f"http://{headers.get('Host', '')}") and not any(name in headers for name in _FORWARDED)
    return is_loopback(f"http://{st.get_option('server.address') or ''}") and came_here


@st.dialog("Connect your AWS", width="medium", icon=":material/add_link:")
def _dialog(env: Environment, connected: Callable[[], None]) -> None:
    st.caption(
        "Credentials are those of the AWS CLI on this machine: none are asked for or kept here. "
        "`aws configure sso` sets up a profile. Reading writes nothing to AWS."
    )
    try:
        profile, region = _account()
        if st.button("List the user pools", icon=":material/list:", disabled=region is None, key="set_up_list"):
            st.session_state[_LISTED] = (region, profile)
        if region and st.session_state.get(_LISTED) == (region, profile):
            _choice(env, _pools(region, profile), profile, connected)
    except PooltableError as error:
        st.markdown(":red[:material/error:] **This did not work.**")
        st.text(display.safe(str(error)))


def _account() -> tuple[str | None, str | None]:
    """Ask for profile and region; None is boto3's own choice of profile, and no region yet."""
    left, right = st.columns(2, gap="small")
    known = [_OWN_CHAIN, *pools.profiles()]
    with left:
        named = st.selectbox("Profile", known, key="set_up_profile")
    profile = None if named == _OWN_CHAIN else named
    regions, usual = _regions(), _usual_region(profile)
    with right:
        region = st.selectbox(
            "Region",
            regions,
            index=regions.index(usual) if usual in regions else None,
            placeholder="Choose",
            key=f"set_up_region_{profile}",
        )
    return profile, region


def _choice(env: Environment, found: list[PoolFacts], profile: str | None, connected: Callable[[], None]) -> None:
    if not found:
        st.text("There is no user pool in this region for this account. Choose another region or profile.")
        return
    names = {pool.id: _label(pool) for pool in found}
    at_sign_up = [pool.id for pool in found if pool.runs_at_sign_up]
    chosen = st.multiselect(
        "User pools",
        list(names),
        default=at_sign_up if len(at_sign_up) == 1 else None,
        format_func=names.__getitem__,
        placeholder="Choose one or more",
        key=f"set_up_pools_{profile}",
    )
    st.caption("The rest of the chain is found from the pool. This writes pooltable.toml beside the app, nothing else.")
    with st.container(horizontal=True, horizontal_alignment="right"):
        label = f"Connect {display.counted(len(chosen), 'pool')}" if chosen else "Connect"
        if st.button(label, type="primary", disabled=not chosen, key="set_up_connect"):
            _connect(env, [pool for pool in found if pool.id in chosen], profile)
            connected()
            st.rerun()


def _connect(env: Environment, chosen: list[PoolFacts], profile: str | None) -> None:
    # Asked again here: a hidden button is no protection.
    if not _offered(env):
        raise PooltableError("This can only be done on the machine itself, where nothing is configured yet.")
    proposals = set_up.of_pools(chosen, profile, even_idle=True)
    set_up.write(set_up.text(proposals), set_up.target())
    st.query_params.from_dict({"env": proposals[0].name})


def _label(pool: PoolFacts) -> str:
    calls = f"calls {', '.join(pool.triggers)}" if pool.triggers else "calls nothing"
    return display.visible(f"{pool.name} ({pool.id}), {calls}")


@st.cache_data(ttl="1m", max_entries=8, show_spinner="Listing the user pools")
def _pools(region: str, profile: str | None) -> list[PoolFacts]:
    return pools.listed(pools.account(region, profile))


@st.cache_data(show_spinner=False)
def _regions() -> list[str]:
    return pools.regions()


def _usual_region(profile: str | None) -> str | None:
    try:
        return pools.usual_region(profile)
    except PooltableError:
        return None

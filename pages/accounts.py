import streamlit as st

from lib import output
from lib.model import HEALTHY
from lib.ui import detail, filters, frame, repair_bar, repairs, table, twins
from lib.views import lookup

HEIGHT = 16 * table.ROW_HEIGHT

opened = frame.open_page("Accounts", "Reconciled from the pool, the table and the trigger's log")
repairs.status(opened)

chosen, reveal = filters.choose(opened)
found = lookup.page(opened.snapshot, **chosen.matching, limit=filters.PAGE, offset=chosen.page * filters.PAGE)
ticked = lookup.chosen(opened.snapshot, st.session_state.get("accounts_chosen", []), **chosen.matching)
st.session_state["accounts_chosen"] = list(ticked["key"])


def export(form: str) -> bytes:
    """Return all that matches as a file, masked like the screen."""
    return output.rendered(lookup.matching(opened.snapshot, **chosen.matching), form, reveal=reveal)


left, right = st.columns([13, 10], gap="small")

with left:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        repair_bar.buttons(opened, chosen, dict(zip(ticked["id"], ticked["situation"], strict=True)))
        with st.popover("Export", icon=":material/download:"):
            name = f"pooltable-{opened.env.name}-{chosen.situation or 'findings'}"
            for form, mime in (("csv", "text/csv"), ("parquet", "application/vnd.apache.parquet")):
                st.download_button(
                    f"{form.upper() if form == 'csv' else 'Parquet'}, {found.total:,} lines",
                    data=lambda form=form: export(form),
                    file_name=f"{name}.{form}",
                    mime=mime,
                    icon=":material/table:",
                    on_click="ignore",
                    width="stretch",
                    key=f"accounts_{form}",
                )
            st.caption("With e-mails in full, as on the screen." if reveal else "E-mails masked, as on the screen.")
            st.caption("Same on the command line")
            every = chosen.situation in HEALTHY or bool(chosen.search and not chosen.situation)
            same = twins.findings(
                opened.env.name,
                f"{name}.csv",
                situation=chosen.situation,
                cause=chosen.cause,
                every=every,
                reveal=reveal,
            )
            st.code(same, "bash", wrap_lines=True)
        filters.pager(found.total, len(found.lines), chosen)
    if found.total:
        table.finding_table(found, situation=chosen.situation, key="accounts", reveal=reveal, height=HEIGHT)
    else:
        table.nothing_found(
            elsewhere=sum(chosen.counts.values()), searched=bool(chosen.search), height=HEIGHT, clear=filters.clear
        )

named = st.query_params.get("account", "")
# A key of its own for each account: another one is read from its top.
with right, st.container(border=True, height=HEIGHT + 49, key=f"accounts_detail_{table.digest([named])}"):
    known = lookup.one(opened.snapshot, named) if named else None
    if known:
        detail.account(opened, known, reveal=reveal)
    elif named:
        detail.unknown()
    else:
        detail.nothing_chosen()

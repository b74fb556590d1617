"""What leaves the program as text: masked, on one line, harmless in a spreadsheet and a terminal.

No user-supplied string may execute or mislead: every page, table, export and message goes through here.
"""

import re
import unicodedata
from typing import Any

# Only what cannot stand unquoted in an address ends it: masking a letter too many is better than one too few.
_ADDRESS = re.compile(r"""(?:"[^"]*"|[^\s"<>()\[\],;:]+)@[^\s@"'<>()\[\]{},;:]+""")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\x00")


def mask_email(value: str | None) -> str | None:
    """Return an e-mail as ``a•••3@mail.test``: first and last letter of the local part, and the domain."""
    if value is None:
        return None
    local, at, domain = value.rpartition("@")
    if not at:
        local, domain = value, ""
    return (f"{local[0]}•••{local[-1]}" if len(local) > 2 else "•••") + at + domain


def mask_emails(text: str) -> str:
    """Return the text with every e-mail address in it masked."""
    return _ADDRESS.sub(lambda match: str(mask_email(match.group())), text) if "@" in text else text


def masked(value: Any) -> Any:
    """Return a value of a table or of JSON, whatever its shape, with every e-mail address in it masked."""
    if isinstance(value, str):
        return mask_emails(value)
    if isinstance(value, dict):
        return {key: masked(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked(inner) for inner in value]
    return value


def visible(text: str) -> str:
    """Return the text on one line, with control, direction and unprintable characters as ``\\u202e``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if _harmless(character) else _escaped(character) for character in text)


def safe(text: str) -> str:
    """Return a message as it may be shown anywhere: e-mails masked, on one line, nothing that misleads."""
    return visible(mask_emails(text))


def csv_cell(value: Any) -> Any:
    """Return a cell that a spreadsheet shows instead of running it (OWASP: CSV injection)."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: `1 row`, `2,000 rows`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _harmless(character: str) -> bool:
    # Cf holds the direction overrides, but also the joiners inside emoji and several scripts.
    category = unicodedata.category(character)
    return character in "\u200c\u200d" or category[0] in "LMNPS" or category == "Zs"


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

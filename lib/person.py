"""One person, by every name that was found: where a text speaks of them, and the text without them. Pure."""

import hashlib
import json
import re
from collections.abc import Iterable
from functools import cached_property

FORGOTTEN = "[forgotten]"
# A shorter id is a word of many texts: it counts only where it is the whole value.
_SHORTEST = 4


class Person:
    """The ids and e-mails of one person; ids are compared exactly, e-mails whatever their case."""

    def __init__(self, ids: Iterable[str], emails: Iterable[str] = ()) -> None:
        self.ids = frozenset(filter(None, ids))
        self.emails = frozenset(email.strip().lower() for email in emails if email.strip())

    def named(self, value: object) -> bool:
        """Return whether a value is one of the person's ids or e-mails, or an owner made of them."""
        if not isinstance(value, str):
            return False
        parts = {value, *value.split("::")}
        return bool(parts & self.ids) or value.strip().lower() in self.emails

    def mentioned(self, text: str | None) -> bool:
        """Return whether a text, JSON too, speaks of the person anywhere."""
        return bool(text) and (self.named(text) or bool(self._pattern.search(str(text))))

    def without(self, text: str) -> str:
        """Return the text with every mention of the person replaced."""
        return FORGOTTEN if self.named(text) else self._pattern.sub(FORGOTTEN, text)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        ids = {form for id in self.ids if len(id) >= _SHORTEST for form in (id, json.dumps(id)[1:-1])}
        quoted = {json.dumps(id) for id in self.ids if len(id) < _SHORTEST}
        emails = {form for email in self.emails for form in (email, json.dumps(email)[1:-1])}
        parts = [_any(ids), _any(quoted, before="", after=""), f"(?i:{_any(emails)})" if emails else ""]
        return re.compile("|".join(filter(None, parts)) or r"(?!)")


def digest(text: str) -> str:
    """Return what stays of a text that is taken away: enough to recognise it, too little to read it."""
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _any(words: Iterable[str], before: str = r"(?<![\w.+%@-])", after: str = r"(?![\w@-]|\.\w)") -> str:
    # The longest first: an id may be the beginning of another one.
    listed = sorted(map(re.escape, words), key=len, reverse=True)
    return f"{before}(?:{'|'.join(listed)}){after}" if listed else ""

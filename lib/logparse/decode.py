"""Two notations in which handlers print values: JSON, and Node's ``util.inspect`` (Python's ``repr`` is close enough).

What is decoded here may be hostile or cut anywhere: every function answers None or a part, none raises.
"""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import orjson

_LENIENT = json.JSONDecoder(strict=False, parse_constant=lambda _: None)
_MAX_DEPTH = 12
_MAX_STARTS = 8

_SPACE = re.compile(r"\s*")
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"|`((?:[^`\\]|\\.)*)`", re.DOTALL)
# inspect breaks a long string after each newline: 'first\n' + 'second'.
_JOINT = re.compile(r"\s*\+\s*(?=['\"`])")
_KEY = re.compile(r"([A-Za-z_$][\w$]*)\s*:")
_BARE = re.compile(r"\[[^\[\]\n]*\]|[^\s,{}\[\]'\"`]+")
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}
_WORDS = {"true": True, "false": False, "True": True, "False": False}


def strict(text: str) -> Any:
    """Return the value of a whole and correct JSON text, or None."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def loads(text: str) -> Any:
    """Return the value of a whole JSON text, or None; raw control characters and lone surrogates are let through."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return _LENIENT.decode(text)
    except (ValueError, RecursionError):
        return None


def dumps(value: object) -> str:
    """Return a decoded value as compact JSON."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # a lone surrogate, or too deep
        pass
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        return "null"


def first_value(text: str) -> Any:
    """Return the JSON value with which a text begins, or None; what follows it does not matter."""
    try:
        return _LENIENT.raw_decode(text)[0]
    except (ValueError, RecursionError):
        return None


def first_fields(text: str, stop: str) -> dict[str, Any]:
    """Return the whole fields with which a cut JSON object begins, up to the key ``stop``."""
    fields: dict[str, Any] = {}
    at = 1 if text.startswith("{") else len(text)
    try:
        while at < len(text):
            key, at = _LENIENT.raw_decode(text, _skip(text, at))
            if key == stop or text[at : at + 1] != ":":
                break
            fields[str(key)], at = _LENIENT.raw_decode(text, _skip(text, at + 1))
            at = _skip(text, at) + 1
    except (ValueError, RecursionError):
        pass
    return fields


def cut_string(text: str) -> str:
    """Return the start of a JSON string's inside that was cut, without the escape that the cut may have broken."""
    whole = re.match(r'(?:[^"\\]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*', text)
    return str(loads(f'"{whole[0]}"') or "") if whole else ""


def inspected(text: str, at: int = 0) -> dict[str, Any]:
    """Return the object that ``util.inspect`` printed at a place; of a cut one the fields before the cut."""
    fields: dict[str, Any] = {}
    at = _skip(text, at)
    if text.startswith("{", at):
        with suppress(ValueError):
            _fill(fields, text, at + 1, 0)
    return fields


def objects(text: str, before: str) -> Iterator[dict[str, Any]]:
    """Yield the objects, in either notation, that begin in a text before the word ``before``; the outermost first."""
    last, at = text.find(before), -1
    for _ in range(_MAX_STARTS):
        at = text.find("{", at + 1, last)
        if at < 0:
            return
        value = first_value(text[at:])
        yield value if isinstance(value, dict) else inspected(text, at)


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _fill(fields: dict[str, Any], text: str, at: int, depth: int) -> int:
    """Fill a dictionary from inside an object, so that a cut leaves what came before it; return the place after."""
    at = _skip(text, at)
    while not text.startswith("}", at):
        key, at = _field_name(text, at)
        if text.startswith("{", at) and depth < _MAX_DEPTH:
            value: Any = {}
            fields[key] = value
            at = _skip(text, _fill(value, text, at + 1, depth + 1))
        else:
            value, at = _value(text, at, depth)
            at = _skip(text, at)
        if not text.startswith((",", "}"), at):
            raise ValueError(text[at : at + 20])
        fields[key] = value  # only now: a cut may have parted it
        at = _skip(text, at + 1) if text.startswith(",", at) else at
    return at + 1


def _field_name(text: str, at: int) -> tuple[str, int]:
    name = _KEY.match(text, at)
    if name:
        return name[1], _skip(text, name.end())
    key, at = _string(text, at)
    at = _skip(text, at)
    if not text.startswith(":", at):
        raise ValueError(key)
    return key, _skip(text, at + 1)


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    if text[at : at + 1] in ("'", '"', "`"):
        return _string(text, at)
    bare = _BARE.match(text, at)
    if bare:
        return _word(bare[0]), bare.end()
    if text.startswith("[", at) and depth < _MAX_DEPTH:
        return _list(text, at + 1, depth + 1)
    raise ValueError(text[at : at + 20])


def _list(text: str, at: int, depth: int) -> tuple[list[Any], int]:
    values: list[Any] = []
    at = _skip(text, at)
    while not text.startswith("]", at):
        if text.startswith("{", at):
            value: Any = {}
            at = _fill(value, text, at + 1, depth)
        else:
            value, at = _value(text, at, depth)
        values.append(value)
        at = _skip(text, at)
        at = _skip(text, at + 1) if text.startswith(",", at) else at
    return values, at + 1


def _word(word: str) -> Any:
    if word in _WORDS:
        return _WORDS[word]
    value = loads(word)
    return value if isinstance(value, int | float) else None


def _string(text: str, at: int) -> tuple[str, int]:
    quoted = _QUOTED.match(text, at)
    if not quoted:
        raise ValueError(text[at : at + 20])
    parts, at = [_unescaped(quoted)], quoted.end()
    while joint := _JOINT.match(text, at):
        quoted = _QUOTED.match(text, joint.end())
        if not quoted:
            raise ValueError(parts[-1])
        parts.append(_unescaped(quoted))
        at = quoted.end()
    # A longer one ends in "... 5 more characters", which no caller takes for the end of a value.
    return "".join(parts), at


def _unescaped(quoted: re.Match[str]) -> str:
    inside: str = next(part for part in quoted.groups() if part is not None)
    return _ESCAPE.sub(_character, inside) if "\\" in inside else inside


def _character(escape: re.Match[str]) -> str:
    code = escape[1]
    if len(code) > 1:
        return chr(int(code[1:], 16))
    return _ESCAPES.get(code, code)

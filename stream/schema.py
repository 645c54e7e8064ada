"""JSON from strangers into frozen dataclasses, and back: the types of the fields are what is checked.

A field may be bool, int, float, str, a ``Literal``, a dataclass, ``X | None``, ``tuple[X, ...]`` or ``dict[str, X]``;
`Range` and `Length` within ``Annotated`` narrow it. A field with a default may be absent, keys without a field are ignored.
A name that Python reserves has an underscore behind it here, and none in the JSON.
"""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import ProtocolError

T = TypeVar("T")

MOST_ITEMS = 4096
"""In a list or an object."""


@dataclass(frozen=True, slots=True)
class Range:
    """The least and the most that a number may be."""

    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Length:
    """The most characters that a text may have."""

    most: int


def parse(text: str, most_chars: int) -> dict[str, Any]:
    """The JSON object in ``text``. Raises ProtocolError: it is none, or longer than ``most_chars``."""
    if len(text) > most_chars:
        _wrong(f"a control message has at most {most_chars} characters, not {len(text)}")
    try:
        value = json.loads(text, parse_constant=_wrong_constant)
    except (RecursionError, ValueError):
        _wrong("a control message must be JSON")
    if not isinstance(value, dict):
        _wrong("a control message must be a JSON object")
    return value


def read(cls: type[T], values: dict[str, Any], where: str) -> T:
    """``values`` as a ``cls``; ``where`` is how to call it in messages, which repeat nothing of what came.

    Raises ProtocolError: a field is missing, or is not what it must be.
    """
    hints = _hints(cls)  # type: ignore[arg-type]  # mypy takes a class for something without a hash
    known: dict[str, Any] = {}
    for field in fields(cls):  # type: ignore[arg-type]
        name = field.name.rstrip("_")
        if name in values:
            known[field.name] = _value(hints[field.name], values[name], f"{where}.{name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            _wrong(f"{where} lacks {name}")
    return cls(**known)


def write(value: object) -> str:
    """One line of JSON in ASCII; what is None is left out."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False, default=_plain)


def _plain(value: Any) -> dict[str, Any]:
    """A dataclass as what JSON knows, but for what is in it."""
    items = ((field.name.rstrip("_"), getattr(value, field.name)) for field in fields(value))
    return {name: item for name, item in items if item is not None}


@cache
def _form(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    return get_origin(hint), get_args(hint)


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)


def _value(hint: Any, value: Any, where: str) -> Any:
    """``value`` if it is what ``hint`` asks for. Raises ProtocolError."""
    origin, args = _form(hint)
    if origin is Annotated:
        return _within(_value(args[0], value, where), args[1], where)
    if origin in (Union, UnionType):  # X | None
        return None if value is None else _value(args[0], value, where)
    if origin is Literal:
        if not isinstance(value, str) or value not in args:
            _wrong(f"{where} must be one of {', '.join(args)}")
        return value
    if origin is tuple:
        items = _sized(list, value, f"{where} must be a list")
        return tuple(_value(args[0], item, f"{where}[{i}]") for i, item in enumerate(items))
    if origin is dict:
        entries = _sized(dict, value, f"{where} must be an object")
        return {
            _text(name, f"a key of {where}"): _value(args[1], item, f"an entry of {where}")
            for name, item in entries.items()
        }
    if is_dataclass(hint):
        return read(hint, _sized(dict, value, f"{where} must be an object"), where)  # type: ignore[arg-type]
    if hint is str:
        return _text(value, where)
    if hint is bool or hint is int:
        if type(value) is not hint:
            _wrong(f"{where} must be {'true or false' if hint is bool else 'a whole number'}")
        return value
    if type(value) not in (int, float) or abs(value) > 1e300 or not math.isfinite(value):
        _wrong(f"{where} must be a number")
    return float(value)


def _within(value: Any, bounds: Range | Length, where: str) -> Any:
    if isinstance(bounds, Range):
        if not bounds.least <= value <= bounds.most:
            _wrong(f"{where} must be {bounds.least:.10g} to {bounds.most:.10g}")
    elif len(value) > bounds.most:
        _wrong(f"{where} has at most {bounds.most} characters, not {len(value)}")
    return value


def _sized(kind: type[T], value: Any, wrong: str) -> T:
    if not isinstance(value, kind) or len(value) > MOST_ITEMS:  # type: ignore[arg-type]
        _wrong(wrong + f" of at most {MOST_ITEMS}")
    return value


def _text(value: Any, where: str) -> str:
    """Raises ProtocolError: no text, or half of a surrogate pair, which no UTF-8 can hold."""
    if not isinstance(value, str) or (not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value)):
        _wrong(f"{where} must be text")
    return value


def _wrong(message: str) -> NoReturn:
    raise ProtocolError("bad_message", message)


def _wrong_constant(name: str) -> NoReturn:
    _wrong("a control message holds a number that is none")

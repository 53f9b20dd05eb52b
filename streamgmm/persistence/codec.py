"""Objects as strict JSON and named arrays, and back.

A class is written under the tag that it registered, so that it can be renamed and moved. Only registered classes are
created from a file, only from fields of their annotated types, and only if they accept their values.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from itertools import groupby
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from streamgmm.persistence.container import Arrays

MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
MAX_RUN_LENGTH = 2**16  # strings of a run-length encoded tuple; a history has fewer records

_CLASSES: dict[str, type[Any]] = {}
_TAGS: dict[type[Any], str] = {}
_FORMS: dict[type[Any], tuple[type[Any], dict[str, Any]]] = {}

Class = TypeVar("Class")


def persistent(tag: str) -> Callable[[type[Class]], type[Class]]:
    """Register a dataclass under the tag that names it in files.

    A class may define two things for the codec.

    ``validate(self) -> None``
        Raise ValueError where fields contradict each other. The decoder calls it; constructors do not, since states are
        created in hot loops.
    ``to_columns(self)`` and ``from_columns(cls, columns: Columns)``
        A compact form: fields of the dataclass ``Columns``, which needs no tag, are written in place of its own.

    Parameters
    ----------
    tag : str
        A tag is not reused: a class whose fields change their meaning gets a new one.

    Raises
    ------
    ValueError
        Another class has the tag.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @persistent("codec-example-1")
    ... @dataclass(frozen=True)
    ... class Interval:
    ...     first: float
    ...     last: float
    ...
    ...     def validate(self) -> None:
    ...         if self.last < self.first:
    ...             raise ValueError("an interval ends before it begins")
    >>> encode(Interval(0.5, 1.0), "interval", {})["type"]
    'codec-example-1'
    >>> decode(encode(Interval(0.5, 1.0), "interval", {}), {}, Interval)
    Interval(first=0.5, last=1.0)
    """

    def register(cls: type[Class]) -> type[Class]:
        if tag in _CLASSES:
            raise ValueError(f"{_CLASSES[tag].__name__} has the tag {tag!r}; give {cls.__name__} another one")
        _CLASSES[tag], _TAGS[cls] = cls, tag
        return cls

    return register


def is_registered(value: Any) -> bool:
    """Return whether the class of an object has a tag."""
    return type(value) in _TAGS


def encode(value: Any, name: str, arrays: Arrays) -> Any:
    """Return a value as strict JSON, and add its arrays to ``arrays`` under names that begin with ``name``.

    Floats become hexadecimal strings, which come back to the bit. TypeError where a class has no tag.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind in "UO":
        return {"strings": [value.dtype.kind, _encode_runs(value.tolist())]}
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {"array": name}
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return {"float": float(value).hex()}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, tuple) and len(value) > 1 and all(type(part) is float for part in value):
        return {"floats": encode(np.array(value), name, arrays)}  # thousands of strings would take longer
    if isinstance(value, tuple) and len(value) > 1 and all(type(part) is str for part in value):
        return {"repeated": _encode_runs(value)}
    if isinstance(value, tuple | list) and not is_dataclass(value):
        return {"list": [encode(part, f"{name}.{index}", arrays) for index, part in enumerate(value)]}
    if isinstance(value, dict):
        return {"mapping": [[str(key), encode(part, f"{name}.{key}", arrays)] for key, part in value.items()]}
    if type(value) in _TAGS:
        stored, (_, annotations) = value.to_columns() if hasattr(value, "to_columns") else value, _form(type(value))
        parts = {part: encode(getattr(stored, part), f"{name}.{part}", arrays) for part in annotations}
        return {"type": _TAGS[type(value)], "fields": parts}
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"a value of type {type(value).__name__} cannot be saved ({name})")


def decode(value: Any, arrays: Arrays, kind: Any = Any) -> Any:
    """Return the object that `encode` wrote, which has to be of an annotated type.

    One of `MALFORMED` where it is not, or where its class refuses its values.
    """
    decoded = _decode(value, arrays)
    if not is_of_type(decoded, kind):
        raise TypeError(f"{type(decoded).__name__} where {kind} is expected")
    return decoded


def is_of_type(value: Any, kind: Any) -> bool:
    """Return whether a value agrees with an annotation, arrays with their dtypes; an int must be a count."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(is_of_type(value, part) for part in parts)
    if origin is tuple and parts[-1] is Ellipsis:
        return type(value) is tuple and all(is_of_type(part, parts[0]) for part in value)
    if origin is tuple:
        return type(value) is tuple and len(value) == len(parts) and all(map(is_of_type, value, parts))
    if origin is dict:
        return type(value) is dict and all(is_of_type(part, parts[1]) for part in value.values())
    if origin is np.ndarray:
        (dtype,) = get_args(parts[1])
        return type(value) is np.ndarray and (dtype is Any or value.dtype == dtype)
    if kind is int:
        return type(value) is int and 0 <= value < 2**63
    if kind is float:
        return type(value) in (float, int)
    return kind is Any or isinstance(value, kind)


def _decode(value: Any, arrays: Arrays) -> Any:
    if not isinstance(value, dict):
        return value
    if value.keys() == {"type", "fields"}:
        return _construct(_CLASSES[value["type"]], value["fields"], arrays)
    ((form, inner),) = value.items()
    match form, inner:
        case "array", str():
            return arrays[inner]
        case "float", str():
            return float.fromhex(inner)
        case "bytes", str():
            return bytes.fromhex(inner)
        case "list", list():
            return tuple(_decode(part, arrays) for part in inner)
        case "floats", _:
            return _decode_floats(decode(inner, arrays, NDArray[np.float64]))
        case "repeated", list():
            return tuple(_expand_runs(inner))
        case "strings", ["U" | "O" as dtype, list(runs)]:
            return np.array(_expand_runs(runs), dtype=dtype)
        case "mapping", list():
            return _decode_mapping(inner, arrays)
    raise ValueError(f"unknown form {form!r}")


def _construct(cls: type[Any], parts: dict[str, Any], arrays: Arrays) -> Any:
    stored, annotations = _form(cls)
    if parts.keys() != annotations.keys():
        raise KeyError(f"{_TAGS[cls]} has other fields")
    decoded = stored(**{name: decode(part, arrays, annotations[name]) for name, part in parts.items()})
    if hasattr(cls, "from_columns"):
        decoded = cls.from_columns(decoded)
    if hasattr(decoded, "validate"):
        decoded.validate()
    return decoded


def _form(cls: type[Any]) -> tuple[type[Any], dict[str, Any]]:
    """Return the dataclass whose fields are written, the class itself or its columns, and their annotations."""
    if cls not in _FORMS:
        for known in _TAGS.keys() - _FORMS.keys():  # all at once: reading a file then evaluates nothing
            is_columnar = hasattr(known, "from_columns")
            stored = get_type_hints(known.from_columns)["columns"] if is_columnar else known
            hints = get_type_hints(stored)
            _FORMS[known] = stored, {part.name: hints[part.name] for part in fields(stored) if part.init}
    return _FORMS[cls]


def _decode_mapping(items: list[Any], arrays: Arrays) -> dict[str, Any]:
    decoded = {key: _decode(part, arrays) for key, part in items}
    if len(decoded) != len(items) or not all(type(key) is str for key in decoded):
        raise ValueError("keys are not unique strings")
    return decoded


def _decode_floats(values: NDArray[np.float64]) -> tuple[float, ...]:
    if values.ndim != 1:
        raise ValueError("numbers of a tuple with other than one axis")
    return tuple(values.tolist())


def _encode_runs(words: Sequence[str]) -> list[list[Any]]:
    if not all(type(word) is str for word in words):
        raise TypeError("an array of objects that are not strings cannot be saved")
    return [[word, len(list(run))] for word, run in groupby(words)]


def _expand_runs(runs: list[Any]) -> list[str]:
    valid = all(type(word) is str and type(number) is int and number > 0 for word, number in runs)
    if not valid or sum(number for _, number in runs) > MAX_RUN_LENGTH:
        raise ValueError("not run lengths of strings")
    return [word for word, number in runs for _ in range(number)]

"""Types, choices and defaults of options, derived from the library's own tables and signatures."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable
from inspect import signature
from math import inf
from pathlib import Path
from typing import Any, TypeVar

from sklearn.utils._param_validation import StrOptions

from streamgmm import GaussianMixture
from streamgmm.model.covariances import STRUCTURES

Value = TypeVar("Value")


def get_default(function: Callable[..., Any], parameter: str) -> Any:
    """Return the default of a parameter in the signature of a function."""
    return signature(function).parameters[parameter].default


def list_choices(parameter: str) -> list[str]:
    """Return the names that a parameter of `GaussianMixture` accepts, its default first.

    Examples
    --------
    >>> list_choices("algorithm")[0], "stepwise" in list_choices("algorithm")
    ('auto', True)
    """
    constraints = GaussianMixture._parameter_constraints[parameter]
    names = {name for constraint in constraints if isinstance(constraint, StrOptions) for name in constraint.options}
    default = get_default(GaussianMixture, parameter)
    return sorted(names, key=lambda name: (name != default, name))


def enumerate_names(names: Iterable[str], conjunction: str = "and") -> str:
    """Join names for a sentence.

    Examples
    --------
    >>> enumerate_names(["a", "b", "c"])
    'a, b and c'
    """
    *others, last = names
    return f"{', '.join(others)} {conjunction} {last}" if others else last


def _checked(
    convert: Callable[[str], Value], accepts: Callable[[Value], bool], problem: Callable[[], str] | str
) -> Callable[[str], Value]:
    """Return a function that converts the text of an option, or tells argparse the problem with it."""

    def parse(text: str) -> Value:
        try:
            value = convert(text)
        except ValueError:
            value = None
        if value is None or not accepts(value):
            raise ArgumentTypeError(f"{text!r} {problem if isinstance(problem, str) else problem()}")
        return value

    return parse


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _sizes(text: str) -> list[int]:
    first, colon, last = text.partition(":")
    return list(range(int(first), int(last) + 1)) if colon else _numbers(text)


number = _checked(float, lambda value: True, "is not a number")
not_negative = _checked(float, lambda value: 0 <= value < inf, "is not a number of at least 0")
at_least_one = _checked(float, lambda value: 1 <= value < inf, "is not a number of at least 1")
positive_integer = _checked(int, lambda value: value >= 1, "is not an integer of at least 1")
seed = _checked(int, lambda value: 0 <= value < 2**32, "is not an integer from 0 to 2**32 - 1")
bands = _checked(_numbers, lambda indices: min(indices) >= 0, "is not integers from 0 with commas between them")
sizes = _checked(
    _sizes,
    lambda numbers: bool(numbers) and min(numbers) >= 1,
    "is neither a range of integers of at least 1, such as 1:12, nor a list of them",
)
families = _checked(
    lambda text: text.split(","),
    lambda names: set(names) <= set(STRUCTURES),
    lambda: f"is not a list of {enumerate_names(STRUCTURES)}, such as full,diag",
)
picture = _checked(Path, lambda path: path.suffix.lower() == ".png", "does not end in .png")
row_output = _checked(Path, lambda path: path.suffix.lower() in (".zarr", ".npy"), "ends neither in .zarr nor in .npy")


def tolerance(text: str) -> float | str:
    """Convert a tolerance: ``auto`` or a number of at least 0."""
    return text if text == "auto" else not_negative(text)


def segment_numbers(text: str) -> int | str | list[int]:
    """Convert a number of segments, several to choose from, or ``auto``."""
    return text if text == "auto" else positive_integer(text) if text.isdecimal() else sizes(text)

"""What a format can only decode whole must not be large."""

from __future__ import annotations

from streamgmm.errors import InputError

MOST_BYTES = 2**28


def check_whole(name: str, n_bytes: int, what: str, remedy: str) -> None:
    """Refuse what would have to be decoded whole and takes more than `MOST_BYTES`."""
    if n_bytes > MOST_BYTES:
        raise InputError(
            f"{name!r} has {what}, which would have to be decoded whole and takes {n_bytes / 2**20:,.0f} MiB, more "
            f"than {MOST_BYTES / 2**20:,.0f}; {remedy}."
        )


def unreadable(name: str, error: Exception) -> InputError:
    """What to raise where a part of a file that was opened cannot be read."""
    said = " ".join(str(error).split())
    return InputError(f"A part of {name!r} cannot be read ({said}); it is damaged or incomplete, get it anew.")


def no_levels(name: str, level: int | None) -> None:
    """Refuse a level of what has none."""
    if level not in (None, 0):
        raise InputError(f"level={level} was asked for, but {name!r} holds no other resolutions; leave it out.")


def chosen_level(name: str, level: int | None, n_levels: int) -> int:
    """A level that there is; the finest, 0, where none was asked for."""
    level = level or 0
    if not 0 <= level < n_levels:
        raise InputError(
            f"level={level} was asked for, but {name!r} has {n_levels} level{'s' * (n_levels > 1)}, counted from "
            "0, the finest; pass one of these."
        )
    return level

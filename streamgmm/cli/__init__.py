"""The command line: ``streamgmm fit | select | update | predict | segment | info | demo``.

Exit codes: 0 done, 1 the data or a model cannot be used, 2 the command line cannot, 130 interrupted.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import TextIO

from streamgmm.cli.arguments import parser
from streamgmm.errors import StreamGMMError

INTERRUPTED = 130  # 128 + SIGINT, as shells count


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows ``streamgmm``; the process's own by default.

    Returns
    -------
    int
        Exit code. A usage error exits with 2 at once, as argparse does.
    """
    given = parser().parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _show
        try:
            return int(given.run(given))
        except KeyboardInterrupt as interruption:
            return _complain("interrupted" + _notes(interruption), INTERRUPTED)
        except OSError as error:
            where = f"{error.filename}: " if error.filename is not None and error.strerror else ""
            return _complain(f"error: {where}{error.strerror or error}{_notes(error)}")
        except (StreamGMMError, ImportError, ValueError) as error:  # ValueError: scikit-learn's checks, wrong checksums
            return _complain(f"error: {error}")


def _notes(error: BaseException) -> str:
    """What an error says beside itself, such as that nothing is lost."""
    return "".join(f"; {note}" for note in getattr(error, "__notes__", ()))


def _complain(message: str, code: int = 1) -> int:
    print(f"streamgmm: {' '.join(message.split())}", file=sys.stderr)
    return code


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as one line, without the place in the code, which says nothing at the command line."""
    _complain(f"warning: {message}")

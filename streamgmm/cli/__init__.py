"""The command line: ``streamgmm fit | select | update | predict | segment | info | demo``.

Exit codes: 0 done, 1 the data or a model cannot be used, 2 the command line cannot be used, 130 interrupted.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

from streamgmm.cli.arguments import build_parser
from streamgmm.errors import StreamGMMError

INTERRUPTED = 130  # 128 + SIGINT, as in shells


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in ``arguments``, by default those of the process, and return its exit code.

    A usage error exits with 2 at once, as argparse does.
    """
    parsed = build_parser().parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_, **__: _print_error(f"warning: {message}")  # without file and line
        try:
            return int(parsed.run(parsed))
        except KeyboardInterrupt as interruption:
            _print_error(f"interrupted{_notes(interruption)}")
            return INTERRUPTED
        except OSError as error:
            file = f"{error.filename}: " if error.filename is not None and error.strerror else ""
            _print_error(f"error: {file}{error.strerror or error}{_notes(error)}")
        except (StreamGMMError, ImportError, ValueError) as error:  # ValueError: scikit-learn's checks, wrong checksums
            _print_error(f"error: {error}")
    return 1


def _notes(error: BaseException) -> str:
    return "".join(f"; {note}" for note in getattr(error, "__notes__", ()))


def _print_error(message: str) -> None:
    """Print a message as one line to the standard error stream."""
    print(f"streamgmm: {' '.join(message.split())}", file=sys.stderr)

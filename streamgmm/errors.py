"""Errors and warnings; each error is also the built-in that users of scikit-learn already catch."""


class StreamGMMError(Exception):
    """Base of every error that streamgmm raises on purpose."""


class InputError(StreamGMMError, ValueError):
    """Data, weights or an argument that cannot be used; the message names the problem, its position and the remedy."""


class NonFiniteError(InputError):
    """Value that is NaN, infinite, or too large to be squared."""


class InputTypeError(InputError, TypeError):
    """Input of a type that cannot be used at all, such as a sparse matrix."""


class DegenerateError(StreamGMMError, ValueError):
    """Covariance without an inverse, or statistics that overflowed; ``candidate`` is the index among several starts."""

    candidate: int = 0


class SinglePassError(StreamGMMError, ValueError):
    """Second pass over batches that can be read only once."""


class CheckpointError(StreamGMMError, RuntimeError):
    """Saved model or checkpoint that is damaged, foreign, or of a newer format."""


class NewerFormatError(CheckpointError):
    """Saved model that was written by a later version of streamgmm."""


class CheckpointMismatch(CheckpointError):
    """Checkpoint of other rows or other settings, from which to resume would be wrong."""


class CheckpointLocked(CheckpointError):
    """Checkpoint that another process is writing to."""


class CheckpointWriteError(CheckpointError, OSError):
    """Checkpoint that cannot be written, such as to a full disk; the previous one is untouched."""


class ResultError(StreamGMMError, RuntimeError):
    """Result on disk that is incomplete, damaged, foreign, or being written by another process."""


class CheckpointWarning(UserWarning):
    """Defect of a checkpoint that was worked around; the message says how."""


class OrderWarning(UserWarning):
    """Order of rows that the result depends on."""

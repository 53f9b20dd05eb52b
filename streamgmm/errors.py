"""What can go wrong, each error also the built-in that scikit-learn's users already catch."""


class StreamGMMError(Exception):
    """Base of every error that streamgmm raises on purpose."""


class InputError(StreamGMMError, ValueError):
    """The data, the weights or an argument cannot be used; the message says what, where and the remedy."""


class NonFiniteError(InputError):
    """A value is NaN, infinite, or too large to be squared."""


class InputTypeError(InputError, TypeError):
    """The input is of a kind that cannot be used at all, such as a sparse matrix."""


class DegenerateError(StreamGMMError, ValueError):
    """A covariance cannot be inverted, or statistics overflowed; of several starts, ``candidate`` says of which one."""

    candidate: int = 0


class SinglePassError(StreamGMMError, ValueError):
    """A second pass is needed over batches that can be read only once."""


class CheckpointError(StreamGMMError, RuntimeError):
    """A saved model is damaged, foreign, or of a newer format."""


class NewerFormatError(CheckpointError):
    """A saved model was written by a later version of streamgmm."""


class CheckpointMismatch(CheckpointError):
    """What a checkpoint holds was begun with other rows or other settings, so that to go on would be wrong."""


class CheckpointLocked(CheckpointError):
    """Another fit is writing to the same checkpoint."""


class CheckpointWriteError(CheckpointError, OSError):
    """A checkpoint cannot be written, such as to a full disk; what was there before is untouched."""


class ResultError(StreamGMMError, RuntimeError):
    """A result on disk is incomplete, damaged, foreign, or being written by another process."""


class CheckpointWarning(UserWarning):
    """A checkpoint is not what it should be, and something else was done; the message says what."""


class OrderWarning(UserWarning):
    """Rows come in an order that the result depends on."""

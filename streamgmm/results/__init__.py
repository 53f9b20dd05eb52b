"""Results of rows on disk: restartable, self-checking, and under their own name only once they are complete."""

from streamgmm.results.commit import complete_or_absent, held, remove
from streamgmm.results.record import Record, model_digest
from streamgmm.results.stored import Stored, check
from streamgmm.results.writing import write

__all__ = ["Record", "Stored", "check", "complete_or_absent", "held", "model_digest", "remove", "write"]

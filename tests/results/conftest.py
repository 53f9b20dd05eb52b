import pytest

from streamgmm.data.fingerprint import Fingerprint
from streamgmm.results.provenance import Provenance


@pytest.fixture(scope="session")
def provenance():
    """Of a result that nobody computed."""
    return Provenance("labels", "0123456789abcdef", Fingerprint(25, 3, "<f4", "chunks", "", "rows"), "0.1.0")

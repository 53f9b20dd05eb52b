"""Settings of the search, changed for a test."""

from dataclasses import replace

import pytest

from streamgmm.initialization import search_settings


@pytest.fixture
def tune(monkeypatch):
    """Function that changes fields of the search settings until the test ends."""

    def change(**fields):
        monkeypatch.setattr(search_settings, "SEARCH", replace(search_settings.SEARCH, **fields))

    return change

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import demo
import streamgmm

MODULES = sorted(
    module.name
    for package in (streamgmm, demo)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not module.name.startswith("streamgmm.testing") and not module.name.endswith("__main__")
)
DOCTESTS = {
    name: [
        test
        for test in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))  # not imported names
        if test.examples
    ]
    for name in MODULES
}


@pytest.mark.parametrize("name", [name for name in MODULES if DOCTESTS[name]])
def test_examples_in_docstrings_print_what_they_show(name):
    runner = doctest.DocTestRunner()
    with np.printoptions(legacy=False):
        for test in DOCTESTS[name]:
            runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


def test_there_are_examples():
    assert sum(map(len, DOCTESTS.values())) > 10

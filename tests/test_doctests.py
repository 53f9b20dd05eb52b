import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import streamgmm

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(streamgmm.__path__, "streamgmm.")
    if not module.name.startswith("streamgmm.testing") and not module.name.endswith("__main__")
)
EXAMPLES = {name: doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name)) for name in MODULES}


def of_its_own(name):
    """Doctests that are written in a module, not imported into it."""
    return [test for test in EXAMPLES[name] if test.examples]


@pytest.mark.parametrize("name", [name for name in MODULES if of_its_own(name)])
def test_examples_in_docstrings_print_what_they_say(name):
    runner = doctest.DocTestRunner()
    with np.printoptions(legacy=False):
        for test in of_its_own(name):
            runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


def test_there_are_examples():
    assert sum(len(of_its_own(name)) for name in MODULES) > 10

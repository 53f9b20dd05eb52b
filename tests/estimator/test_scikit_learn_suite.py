"""scikit-learn's own tests of mixtures, run in place on our class."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import sklearn

SUITE = Path(sklearn.__file__).parent / "mixture" / "tests"

# Runs in the other process before anything is collected.
SWAPPED = """
import sklearn.mixture
import sklearn.mixture._gaussian_mixture
import streamgmm

sklearn.mixture.GaussianMixture = streamgmm.GaussianMixture
sklearn.mixture._gaussian_mixture.GaussianMixture = streamgmm.GaussianMixture
"""

# Tests of what is private to scikit-learn, each with the reason.
DESELECTED = {
    "test_gaussian_mixture_precisions_init": "calls gmm._set_parameters() and gmm._initialize(X, resp); "
    "tests/estimator/test_agreement_with_scikit_learn.py compares fits from given precisions",
    "test_gaussian_mixture_all_init_does_not_estimate_gaussian_parameters": "counts calls of the private function "
    "_estimate_gaussian_parameters; tests/estimator/test_scikit_learn_conventions.py counts the readings of the data",
    "test_score[float32]": "compares the score, which is float64 here, to 7 decimals with a mean rounded to float32",
    "test_gaussian_mixture_array_api_compliance": "needs array API dispatch, for arrays of torch and the like",
    "test_gaussian_mixture_raises_where_array_api_not_implemented": "needs array API dispatch",
}


@pytest.mark.long
def test_scikit_learns_tests_of_mixtures_pass_with_our_class(tmp_path):
    (tmp_path / "swapped.py").write_text(SWAPPED)
    # test_gaussian_mixture_precisions_init is also the start of the name of a test that is not deselected
    unwanted = " or ".join(f"{name}[" if name.endswith("_init") else name for name in DESELECTED)
    arguments = ["-q", "-rpfE", "-p", "no:cacheprovider", "-p", "swapped", "-c", os.devnull, "--rootdir", str(SUITE)]
    at_least = {"test_gaussian_mixture.py": 65, "test_mixture.py": 4}
    files = [str(SUITE / file) for file in at_least]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, "-k", f"not ({unwanted})", *files],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "SKLEARN_RUN_FLOAT32_TESTS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-4000:]
    passed = Counter(re.findall(r"^PASSED \S*?(test_\w+\.py)::", result.stdout, re.MULTILINE))
    assert all(passed[file] >= number for file, number in at_least.items())
    assert "skipped" not in result.stdout.splitlines()[-1]


def test_every_deselected_test_is_there():
    source = (SUITE / "test_gaussian_mixture.py").read_text()
    assert all(f"def {name.partition('[')[0]}(" in source for name in DESELECTED)

"""The order of the layers, as DESIGN names it, and what the package promises not to do."""

import ast
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import streamgmm

ROOT = Path(streamgmm.__file__).parent

# A module may import from its own line and from the lines above it.
LAYERS = [
    ["errors"],
    ["persistence"],
    ["model"],
    ["kernels"],
    ["data"],
    ["algorithms"],
    ["iteration"],
    ["initialization"],
    ["fitting"],
    ["estimator"],
    ["results"],
    ["plot"],
    ["selection"],
    ["images"],
    ["cli", "__main__", "__init__"],
    ["testing"],
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

# everyday words that once stood for terms of the field, such as "heat" for a round of successive halving
PRIVATE_WORDS = {
    "Heat", "heat", "heats", "Trials", "trials", "judge", "judging", "reservoir", "Rung", "rung", "ladder", "Contest",
    "contest", "Standings", "standings", "Striding", "stride", "strides", "slowness", "Settled", "Remaining", "Never",
    "Course", "course", "Moment", "Task", "Ending", "Learning", "Given", "Anchoring", "Anchored", "storm", "Waiting",
    "Rest", "Ledger", "ledger", "Learnt", "Ring", "Entries", "implied", "Spread", "tally", "Parts", "faults",
    "SecondLook", "Unexplained", "crowds", "Effort", "Keeper", "keeper", "Guard", "Held", "Wave", "wave", "waves",
    "Look", "portions", "dealt", "Counted", "paying", "richness", "Scene", "Recipe", "Grid", "lacking", "Tally",
    "Certainty", "piece", "pieces",
}  # fmt: skip
PRIVATE_NAMES = PRIVATE_WORDS | {
    "place",
    "places",
    "found",
    "said",
    "made",
    "wanted",
    "looked",
    "look",
    "led",
    "effort",
}

# a file for each row of the table in the folder's docstring file
TABLES = {
    "algorithms",
    "model/covariances",
    "model/information_criteria",
    "data/sources",
    "images/reading",
    "images/writers",
}
ALIKE = {"context.py", "settings.py"}

MAY_IMPORT_STORAGE = {"data", "results", "images", "cli"}
LAZY = [
    "numba",
    "dask",
    "zarr",
    "pandas",
    "xarray",
    "matplotlib",
    "h5py",
    "pyarrow",
    "distributed",
    "tifffile",
    "rasterio",
    "PIL",
]


@cache
def modules():
    """Path, layer and syntax tree of each, parsed once for all tests."""
    paths = {path: path.relative_to(ROOT) for path in sorted(ROOT.rglob("*.py"))}
    return tuple(
        (relative.as_posix(), relative.parts[0].removesuffix(".py"), ast.parse(path.read_text()))
        for path, relative in paths.items()
    )


@cache
def imported_names(tree):
    """Dotted names of everything that is imported anywhere in a module, functions included."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def imported_layers(tree):
    for name in imported_names(tree):
        parts = name.split(".")
        if parts[0] == "streamgmm":
            yield parts[1] if len(parts) > 1 and parts[1] in RANK else "__init__"


def test_every_module_has_its_place_in_the_order():
    assert {layer for _, layer, _ in modules()} <= set(RANK)


def test_imports_point_upward_in_the_list_only():
    wrong = [
        (path, imported)
        for path, layer, tree in modules()
        for imported in imported_layers(tree)
        if RANK[imported] > RANK[layer]
    ]
    assert wrong == []


def test_modules_import_each_other_in_no_circle():
    trees = {path: tree for path, _, tree in modules()}
    known = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in trees}
    known["__init__"] = "__init__.py"

    def imports(path):
        """Files of the package that a module loads when it is imported itself: those in functions are not."""
        for node in trees[path].body:
            for name in imported_names(ast.Module([node], [])) if isinstance(node, ast.Import | ast.ImportFrom) else ():
                inner = name.removeprefix("streamgmm.")
                for candidate in (inner, inner.rpartition(".")[0]):
                    if name.startswith("streamgmm.") and candidate in known and known[candidate] != path:
                        yield known[candidate]
                        break

    finished, open_ = set(), []

    def visit(path):
        assert path not in open_, f"circle: {[*open_[open_.index(path) :], path]}"
        if path not in finished:
            open_.append(path)
            for other in imports(path):
                visit(other)
            finished.add(open_.pop())

    for path in trees:
        visit(path)


def test_storage_and_schedulers_are_known_to_few():
    wrong = [
        (path, name)
        for path, layer, tree in modules()
        for name in imported_names(tree)
        if name.split(".")[0] in ("dask", "zarr", "distributed") and layer not in MAY_IMPORT_STORAGE
    ]
    assert wrong == []


def test_nothing_of_the_package_imports_its_test_suites():
    assert not [path for path, layer, tree in modules() if layer != "testing" and "testing" in imported_layers(tree)]


def test_importing_the_package_loads_nothing_that_may_not_be_needed():
    # scikit-learn's base classes load pandas themselves, where it is installed
    statements = [
        "import streamgmm",
        "from streamgmm import GaussianMixture, load",
        "import streamgmm.data.sources; streamgmm.data.sources.as_source",
    ]
    question = "import sys, sklearn.base; before = set(sys.modules)\n" + "".join(
        f"{statement}; print({statement!r}, [name for name in {LAZY} if name in set(sys.modules) - before])\n"
        for statement in statements
    )
    answer = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines() == [f"{statement} []" for statement in statements]


def test_nothing_read_or_given_is_ever_executed():
    refused = {"eval", "exec", "compile", "__import__"}
    for path, _, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in refused, f"{path}:{node.lineno}"
            if isinstance(node, ast.keyword):
                assert node.arg != "allow_pickle", f"{path}:{node.value.lineno}"
        roots = {name.split(".")[0] for name in imported_names(tree)}
        assert not roots & {"pickle", "cloudpickle", "dill", "marshal", "shelve"}, path


def names_of(tree):
    """Yield the names in a module, whole and by their words."""
    for node in ast.walk(tree):
        name = next((getattr(node, field) for field in ("name", "id", "arg", "attr") if hasattr(node, field)), None)
        if isinstance(name, str):
            yield from (name, *name.strip("_").lower().split("_"))


def docstrings(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            yield text


def test_no_two_files_share_a_name():
    names = Counter(path.name for path in ROOT.rglob("*.py") if path.name != "__init__.py")
    assert [name for name, number in names.items() if number > 1 and name not in ALIKE] == []


def test_a_file_is_one_idea_and_at_most_400_lines():
    long = {path.name: len(path.read_text().splitlines()) for path in ROOT.rglob("*.py")}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}


def test_a_folder_has_at_most_12_files_beside_its_docstring():
    files = Counter(path.parent.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))
    assert {folder: number for folder, number in files.items() if number > 13 and folder not in TABLES} == {}


def test_docstrings_begin_with_a_verb_or_a_noun():
    wrong = [
        (path, text.splitlines()[0])
        for path, layer, tree in modules()
        for text in docstrings(tree)
        if text.split()[0] in ("What", "Whether", "Of", "As", "That", "How", "Those")
    ]
    assert wrong == []


def test_the_words_of_the_field_are_used():
    wrong = {}
    for path, _, tree in modules():
        prose = {word for text in docstrings(tree) for word in re.findall(r"\b[A-Za-z]+\b", text)}
        words = (set(names_of(tree)) & PRIVATE_NAMES) | (prose & PRIVATE_WORDS)
        if words:
            wrong[path] = words
    assert wrong == {}

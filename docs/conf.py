"""Settings of the documentation: ``python -m sphinx -W -b html docs docs/_build`` builds it."""

import re
from inspect import getdoc, getmodule

from streamgmm import __version__
from streamgmm.model.covariances import STRUCTURES
from streamgmm.model.information_criteria import CRITERIA

project = "streamgmm"
author = "The streamgmm developers"
copyright = "The streamgmm developers"
version = release = __version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
nitpicky = False  # docstrings name types of other libraries, whose inventories are not fetched

myst_heading_anchors = 3
myst_enable_extensions = ["substitution"]


def make_table(members):
    """Return a Markdown table of names and the first lines of docstrings."""
    rows = [f"| `{name}` | {getdoc(member).splitlines()[0]} |" for name, member in members.items()]
    return "\n".join(["| name | |", "|---|---|", *rows])


myst_substitutions = {
    "covariance_types": make_table({name: getmodule(type(family)) for name, family in STRUCTURES.items()}),
    "criteria": make_table(CRITERIA),
}

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc says types, in words
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
default_role = "py:obj"

html_theme = "pydata_sphinx_theme"
html_title = "streamgmm"
html_show_sourcelink = False
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}

METADATA_ROUTING = re.compile(r"(set_\w+_request|get_metadata_routing)$")  # added to every estimator by scikit-learn


def skip_member(app, what, name, obj, skip, options):
    """Return True for members that are not documented here."""
    return True if METADATA_ROUTING.match(name) else None


def setup(app):
    """Register the hook above."""
    app.connect("autodoc-skip-member", skip_member)

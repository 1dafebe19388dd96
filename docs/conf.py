"""Settings of the documentation. Needs no network; links to other projects only when asked."""

import os
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]  # own extensions; samples for doctests

with (HERE.parent / "pyproject.toml").open("rb") as stream:
    about = tomllib.load(stream)["project"]

project = about["name"]
release = version = about["version"]
author = about["authors"][0]["name"]
project_copyright = f"2026, {author}"

extensions = [
    "autodoc_text",
    "command_help",
    "external_names",
    "floors_picture",
    "plan_example",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
if os.environ.get("REHYDRATE_DOCS_ONLINE"):
    extensions.append("sphinx.ext.intersphinx")
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", None),
    "numpy": ("https://numpy.org/doc/stable", None),
}

html_theme = "furo"
html_title = f"rehydrate {release}"
html_static_path: list[str] = []
exclude_patterns = ["_build"]
if not (HERE.parent / "samples" / "counting_store.py").exists():
    exclude_patterns.append("tutorial/first-adapter.md")

nitpicky = True
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
# The readers of the specification count bytes; quotes and dashes stay as they are typed.
smartquotes = False

autoclass_content = "both"  # what constructors take and raise stands in their own docstrings
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = False
napoleon_use_rtype = False  # the signature has the type

doctest_global_setup = "import rehydrate"
trim_doctest_flags = True

"""Sphinx reads this:  make docs  (Markdown by MyST, docstrings by autodoc; pages load nothing from elsewhere)."""

import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import keras_vit  # noqa: E402
from docs import docstrings  # noqa: E402

project = "keras_vit"
version = release = keras_vit.__version__
project_copyright = "the authors of keras_vit"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["figures", "__pycache__"]
smartquotes = False  # names in quotes are code
html_theme = "furo"
html_title = "keras_vit"
html_theme_options = {"navigation_with_keys": True}
html_css_files = ["pages.css"]
html_static_path = ["static"]
html_copy_source = False
html_show_sphinx = False

myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # shapes are in the docstrings
napoleon_use_ivar = True


def setup(app):
    app.connect("autodoc-process-docstring", docstrings.process, priority=400)  # before napoleon's, at 500

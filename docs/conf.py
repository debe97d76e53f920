"""Settings of Sphinx for the documentation site: `make docs` writes it to build/docs."""

import os
import re
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent / "extensions"))

_ROOT = Path(__file__).parents[1]

project = "tf_boxconv"
author = "The tf_boxconv authors"
release = re.search(r'"(.+)"', (_ROOT / "tf_boxconv" / "version.py").read_text())[1]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "markdown_docstrings",
    "repository_links",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["extensions"]

# Pages are Markdown. Links such as page.md#heading need anchors for headings.
myst_heading_anchors = 4

# API pages are reStructuredText from docstrings.
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [
    ("Attributes", "params_style"),
    ("Call arguments", "params_style"),
    "Input shape",
    "Output shape",
    "Reference",
]
python_maximum_signature_line_length = 88
add_module_names = False
toc_object_entries_show_parents = "hide"
# Every reference to this package must resolve. Other packages' references would need a network.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!tf_boxconv).*")]

html_theme = "sphinx_book_theme"
html_title = "tf_boxconv"
html_static_path = ["static"]
html_css_files = ["style.css"]
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "navbar_persistent": [],  # the sidebar has a search field
    "show_toc_level": 2,
}
# The button copies commands and code without prompts.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

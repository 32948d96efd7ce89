"""How Sphinx turns these pages, and the docstrings of the package, into a site: ``make site``."""

import importlib
import pkgutil
import re
from pathlib import Path

from sphinx.ext.napoleon import Config, GoogleDocstring

import spikeloom

project = html_title = "Spikeloom"
html_theme = "furo"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
root_doc = "index"
myst_heading_anchors = 4
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_inherit_docstrings = False
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"
nitpicky = True
nitpick_ignore_regex = [(".*", r"(?!spikeloom\.\w+\.\w+$).*")]  # only public names of ours must be there

REFERENCE = Path(__file__).parent / "reference"  # is made anew each time, and not committed
CAPTION = re.compile(r"^## (.+)\n", re.M)
PAGE = re.compile(r"\]\((\S+)\.md\)")
SECTION = re.compile(r"[A-Z]\w+:$")
FIELD = re.compile(r"(Returns|Shape|Differs from|Source):(.*)")


def write_reference(app):
    """Write a page for each module of the package: what it exports, or what the modules in it hold."""
    REFERENCE.mkdir(exist_ok=True)
    for name in spikeloom.__all__:
        module = importlib.import_module(f"spikeloom.{name}")
        documented = [module.__name__]
        if not hasattr(module, "__all__") and hasattr(module, "__path__"):
            documented += [f"{module.__name__}.{part.name}" for part in pkgutil.iter_modules(module.__path__)]
        directives = "".join(f"\n.. automodule:: {part}\n" for part in documented)
        title = f"{module.__name__}\n{'=' * len(module.__name__)}\n"
        (REFERENCE / f"{name}.rst").write_text(title + directives, encoding="utf-8")


def add_contents(app, name, source):
    """Make the tables of the first page the contents of the site, with the reference behind them."""
    if name != root_doc:
        return
    _, *parts = CAPTION.split(source[0])
    contents = {caption: PAGE.findall(table) for caption, table in zip(parts[::2], parts[1::2], strict=True)}
    contents["Reference"] = [f"reference/{module}" for module in spikeloom.__all__]
    for caption, pages in contents.items():
        source[0] += "\n".join(["\n```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```\n"])


def read_docstring(app, what, name, obj, options, lines):
    """Read the sections of a docstring; of some the text may begin, and go on, at the left."""
    read, is_field = [], False
    for line in lines:
        if match := FIELD.match(line):
            read += ["", f":{match[1]}: {match[2]}"]
            is_field = True
        elif SECTION.match(line):
            read += ["", line]
            is_field = False
        else:
            is_field = is_field and line != ""
            read.append(f"    {line}" if is_field else line)
    # As of a function: in what belongs to an attribute, words before a colon would be taken for its type.
    lines[:] = GoogleDocstring(read, Config(), app, "function", name, obj, options).lines()


def setup(app):
    app.connect("builder-inited", write_reference)
    app.connect("source-read", add_contents)
    app.connect("autodoc-process-docstring", read_docstring)

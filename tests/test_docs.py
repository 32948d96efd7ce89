"""The documentation runs: its Python blocks, its command lines, its links and the names that it mentions.

Marks in a page are HTML comments before a code block. ``raises: X`` and ``warns: X`` say what a Python block
must do; ``prints`` says that the text block repeats what the Python block before it printed, or the error
that it raised, where ``...`` stands for anything; ``roughly`` lets the numbers differ a little.
"""

import contextlib
import dataclasses
import doctest
import importlib
import io
import re
import shlex
import warnings
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import pytest
import torch
import tyro
from matplotlib import pyplot

import spikeloom
from spikeloom import cli
from spikeloom.cli import options
from spikeloom.data import DATASETS
from spikeloom.recipe import RECIPES

ROOT = Path(__file__).parents[1]
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
PAGES = [*READMES, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"(?:<!-- (?P<mark>[a-z]+)(?:: (?P<what>\w+))? -->\n+)?```(?P<language>\w*)\n(?P<code>.*?)^```",
    re.M | re.S,
)
NAME = re.compile(rf"(?:spikeloom\.)?((?:{'|'.join(spikeloom.__all__)})(?:\.[A-Za-z_]\w*)+)")
OTHER_PROGRAMS = {"cat", "cd", "git", "kill", "tensorboard"}
COMMANDS = {
    "test": options.Test,
    "plot": options.Plot,
    "profile": options.Profile,
    "export": options.Export,
    "bench": options.Bench,
}
OTHER_OPTIONS = {"--nproc-per-node"}  # torchrun's


@dataclass(frozen=True)
class Block:
    """A fenced block of code, and the mark before it."""

    language: str
    code: str
    line: int
    mark: str | None
    what: str | None


def blocks(page, *languages):
    text = page.read_text(encoding="utf-8")
    found = [
        Block(
            match["language"],
            match["code"],
            text[: match.start("code")].count("\n") + 1,
            match["mark"],
            match["what"],
        )
        for match in BLOCK.finditer(text)
    ]
    return [block for block in found if not languages or block.language in languages]


def name_of(page):
    return str(page.relative_to(ROOT))


over_pages = pytest.mark.parametrize("page", PAGES, ids=name_of)


@pytest.fixture
def sandbox(monkeypatch, tmp_path):
    """A folder of its own, figures that nobody sees, registrations that are taken back."""
    monkeypatch.chdir(tmp_path)
    for registry in (DATASETS, RECIPES):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    backend, num_threads = matplotlib.get_backend(), torch.get_num_threads()
    pyplot.switch_backend("Agg")
    torch.set_num_threads(
        1
    )  # the networks are tiny: with two threads on busy cores they took four times as long
    yield
    torch.set_num_threads(num_threads)
    pyplot.close("all")
    pyplot.switch_backend(backend)


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_python_blocks_run_and_print_what_the_page_says(page):
    namespace = {"__name__": "__main__"}
    printed = None
    for block in blocks(page):
        if block.language == "python":
            printed = run(page, block, namespace)
        elif block.mark == "prints":
            assert_prints(page, block, printed)
        elif block.mark == "roughly":
            assert_prints_roughly(page, block, printed)


def run(page, block, namespace):
    """What the block prints, or the error that it is marked to raise."""
    code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")  # errors name the page's line
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        if block.mark == "raises":
            with pytest.raises(Exception) as caught:
                exec(code, namespace)
            assert type(caught.value).__name__ == block.what, (
                f"{name_of(page)}:{block.line}: {caught.value!r}"
            )
            return f"{block.what}: {caught.value}"
        if block.mark == "warns":
            with warnings.catch_warnings(record=True) as given:
                warnings.simplefilter("always")
                exec(code, namespace)
            assert [warning.category.__name__ for warning in given] == [block.what]
            return f"{block.what}: {given[0].message}\n{output.getvalue()}"
        exec(code, namespace)
    return output.getvalue()


def assert_prints(page, block, printed):
    """What a page says is printed is printed; lines may be broken elsewhere."""
    check = doctest.OutputChecker().check_output
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert check(block.code, printed, options), f"{name_of(page)}:{block.line}: printed is\n{printed}"


def assert_prints_roughly(page, block, printed):
    """As :func:`assert_prints`, but numbers may be off by a tenth: another machine rounds otherwise."""
    (*words, numbers), (*printed_words, printed_numbers) = map(words_and_numbers, (block.code, printed))
    where = f"{name_of(page)}:{block.line}: printed is\n{printed}"
    assert printed_words == words, where
    assert printed_numbers == pytest.approx(numbers, rel=0.1), where


def words_and_numbers(text):
    """The words between the numbers of a text, and after them the list of its numbers."""
    pieces = re.split(r"(\d+(?:\.\d+)?)", " ".join(text.split()))
    return *pieces[::2], [float(piece) for piece in pieces[1::2]]


@over_pages
def test_command_lines_are_right(page):
    for block in blocks(page, "sh", "powershell"):
        for line in block.code.replace("\\\n", " ").replace("\\", "/").splitlines():
            if words := shlex.split(line, comments=True):
                try:
                    check_command(words)
                except (AssertionError, SystemExit, KeyError) as error:
                    pytest.fail(f"{name_of(page)}:{block.line}: `{line}`: {error!r}")


def check_command(words):
    """The command line exists: program, recipe, options."""
    while re.fullmatch(r"export|\w+=.*", words[0]) and len(words) > 1:  # environment variables
        words = words[1:]
    program = re.sub(r"^\.venv/(bin|Scripts)/", "", words[0])
    if program == "torchrun":
        words = words[words.index("-m") - 1 :]
        program = "python"
    if program == "python" and words[1:3] == ["-m", "spikeloom"]:
        program, words = "spikeloom", words[2:]
    if program == "spikeloom":
        check_spikeloom(words[1:])
    elif program == "make":
        assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text(), "no such target"
    elif program == "pip":
        constraints = words[words.index("-c") + 1]
        assert (ROOT / constraints).is_file(), "no such constraints"
    else:
        known = {*OTHER_PROGRAMS, "python"}
        assert program in known or re.fullmatch(r"\w+=.*", program), "unknown program"


def check_spikeloom(words):
    """The real parser takes the words after ``spikeloom``."""
    command, *words = words
    if command == "list":
        assert RECIPES.names(words[0] if words else "*"), "no such recipe"
    elif command == "train" and words[0] == "--resume":
        tyro.cli(options.Resume, args=words)
    elif command == "train":
        if words[1:] != ["--help"]:
            tyro.cli(RECIPES[words[0]], args=words[1:])
    elif command in COMMANDS:
        tyro.cli(COMMANDS[command], args=words)
    else:
        assert command in ("--help", "--version"), "no such command"


@over_pages
def test_links_and_files_exist(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):  # the web
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), f"{name_of(page)} links to {target}"
        assert not anchor or anchor in anchors(linked), f"{name_of(page)} links to {target}"
    for path in re.findall(r"(?<![\w./~-])(?:src|docs|tests|benchmarks)/[\w./-]*[\w/]", text):
        assert (ROOT / path).exists(), f"{name_of(page)} mentions {path}"


def anchors(page):
    """The headings of a page, as GitHub turns them into links."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@over_pages
def test_mentioned_names_and_options_exist(page):
    """Inline code such as ``functional.reset_net(net)`` and ``--data-dir`` names something that is there."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for code in re.findall(r"`([^`\n]+)`", text):
        if name := NAME.match(code):
            assert resolves(name[1]), f"{name_of(page)} mentions {code}"
        for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", code):
            assert option in known_options(), f"{name_of(page)} mentions {option}"


def resolves(dotted):
    """Whether a dotted name within the package leads somewhere."""
    owner, *rest = dotted.split(".")
    owner = importlib.import_module(f"spikeloom.{owner}")
    for name in rest:
        with contextlib.suppress(ImportError, AttributeError):
            importlib.import_module(f"{owner.__name__}.{name}")
        if not hasattr(owner, name):
            return dataclasses.is_dataclass(owner) and name in {
                field.name for field in dataclasses.fields(owner)
            }
        owner = getattr(owner, name)
    return True


def known_options():
    """Every option of every command."""
    classes = [*(RECIPES[name] for name in RECIPES), *COMMANDS.values()]
    fields = {field.name.replace("_", "-") for cls in classes for field in dataclasses.fields(cls)}
    return {f"--{name}" for name in {*fields, "help", "version", "resume"}} | OTHER_OPTIONS


def test_both_readmes_say_the_same_code():
    english, chinese = ([(block.language, block.code) for block in blocks(page)] for page in READMES)
    assert english == chinese


@pytest.mark.parametrize("page", READMES, ids=name_of)
def test_a_table_of_the_docs_is_linked_and_not_repeated(page):
    def rows(text):
        return {row for row in text.splitlines() if row.startswith("| ") and len(row.split("|")) > 3}

    for other in sorted((ROOT / "docs").glob("*.md")):
        assert not rows(page.read_text("utf-8")) & rows(other.read_text("utf-8")), other.name


@pytest.mark.parametrize("page", READMES, ids=name_of)
def test_readme_lists_the_recipes_as_they_are(page, capsys):
    cli.main(["list"])
    assert capsys.readouterr().out in page.read_text(encoding="utf-8")


def test_every_page_is_listed():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"]({page.name})" in index, page.name


def test_a_wrong_command_line_is_noticed():
    for line in (
        "spikeloom train lif-f",
        "spikeloom train lif-fc --epoch 3",
        "spikeloom run",
        "make nothing",
    ):
        with pytest.raises((AssertionError, SystemExit, KeyError)):
            check_command(shlex.split(line))

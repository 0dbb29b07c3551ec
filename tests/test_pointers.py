"""Every text that points somewhere points to something that is there: the files, the settings and the commands that it names."""

import ast
import re

import pytest
from babel.messages.pofile import read_po
from conftest import ROOT

from flask_entra.settings import SETTINGS, key_of

FOLDERS = ("docs", "tests", "flask_entra", "sandbox", "bench", "templates", "static", "pages", "translations", ".ci")
KINDS = (".py", ".md", ".html", ".cfg", ".txt", ".css", ".js", ".mjs", ".lua", ".po", ".toml", "")
MADE_LATER = ("messages.pot",)
# Variables that are not this package's: Python's, requests', Flask's and gunicorn's.
OTHERS = {"REQUESTS_CA_BUNDLE", "HTTPS_PROXY", "NO_PROXY", "FLASK_SKIP_DOTENV", "TRUSTED_HOSTS", "WEB_CONCURRENCY"}
# What is written where a value goes.
PLACES = {"B2C_1_", "MOT_DE_PASSE"}


def texts():
    """The texts of this project that people read or edit, with their files."""
    top = [path for path in ROOT.iterdir() if path.is_file() and path.name not in (".env", ".coverage")]
    below = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    for path in (*top, *below):
        if path.suffix in KINDS or path in top:
            yield path, path.read_text(encoding="utf-8")


def messages():
    """The texts of the pages, the log and the doctor, in both languages."""
    for folder in ("translations", "flask_entra/translations"):
        with (ROOT / folder / "fr" / "LC_MESSAGES" / "messages.po").open("rb") as file:
            for message in read_po(file):
                for text in (message.id, message.string):
                    yield from [text] if isinstance(text, str) else text


def test_every_file_that_a_text_names_is_there():
    named = re.compile(
        rf"(?<![\w/.<>-])((?:{'|'.join(map(re.escape, FOLDERS))})/[\w./-]*[^\W_]|[A-Z]+(?:\.fr)?\.md)(?![\w<{{*(\\]|\.\(\?)"
    )
    pointers = [(path, name) for path, text in texts() for name in named.findall(text) if not name.endswith(MADE_LATER)]
    assert len(pointers) > 300
    places = (ROOT, ROOT / "flask_entra")  # the package's own files say `pages/` of its own
    lost = [f"{path}: {name}" for path, name in pointers if not any((place / name).exists() for place in places)]
    assert lost == []


def test_every_setting_that_a_text_names_is_one():
    known = {*SETTINGS, *map(key_of, SETTINGS), *OTHERS, *PLACES}
    named = {name for text in messages() for name in re.findall(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b", text)}
    assert len(named) > 10
    assert named - known == set()


def test_a_text_of_the_package_points_to_no_page_that_an_installation_lacks():
    found = [text for text in messages() if re.search(r"README|docs/|CONTRIBUTING|\bin the documents\b", text)]
    assert found == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_a_section_that_a_page_sends_to_is_on_that_page(page):
    text = page.read_text()
    headings = set(re.findall(r"^#+ (.*)$", text, re.MULTILINE))
    assert set(re.findall(r"\b(?:[Ss]ee|[Vv]oir|[Vv]oyez) \*([^*]+)\*", text)) <= headings


@pytest.mark.parametrize("page", ["operate.md", "operate.fr.md"])
def test_every_line_of_the_log_that_a_page_explains_is_one_that_is_written(page):
    strings = []
    for path in (ROOT / "flask_entra").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                strings.append(re.sub(r"%(?:\.\df|\w)", "…", node.value))
            elif isinstance(node, ast.ClassDef):
                strings += [f"{status} {node.name}: …" for status in (502, 503, 504)]
    table = (
        (ROOT / "docs" / page).read_text(encoding="utf-8").split("\n|---|---|---|\n| `Not ready")[1].split("\n\n")[0]
    )
    lines = re.findall(r"`([^`]*…[^`]*)`", f"| `Not ready{table}")
    assert len(lines) > 15
    assert not [line for line in lines if not any(all(part in each for part in line.split("…")) for each in strings)]

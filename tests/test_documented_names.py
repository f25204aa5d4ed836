"""The files, names and targets of make that the pages for contributors name are in the tree."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path, PurePosixPath

import pytest

from tests.support.installation import ROOT

EXTEND = ROOT / "docs/extend"
PAGES = [ROOT / "CONTRIBUTING.md", *(EXTEND / f"{name}.md" for name in ("architecture", "dialects", "quick-fill"))]
SUFFIXES = ("css", "html", "js", "json", "lock", "md", "py", "sql", "toml", "txt")
FILE = re.compile(rf"(?!/)[\w.*/-]+(?:/|\.(?:{'|'.join(SUFFIXES)}))")
NAME = re.compile(r"[A-Za-z_][\w.]*(?:\(.*\))?")
MADE_WHEN_IT_RUNS = ("var/",)


@cache
def files_of_the_tree() -> list[str]:
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [file for file in listed.stdout.splitlines() if (ROOT / file).is_file()]


@cache
def paths() -> list[str]:
    """Of the files and, with a slash at the end, of the folders."""
    folders = {str(folder) for file in files_of_the_tree() for folder in PurePosixPath(file).parents}
    return [*(f"/{file}" for file in files_of_the_tree()), *(f"/{folder}/" for folder in folders)]


@cache
def words() -> frozenset[str]:
    """What the code names. Not this file, which names what is nowhere."""
    code = [
        ROOT / file for file in files_of_the_tree() if file.endswith((".py", ".js", ".html", ".toml", ".yaml", ".ini"))
    ]
    texts = (path.read_text() for path in code if path.name != Path(__file__).name)
    return frozenset(word for text in texts for word in re.findall(r"\w+", text))


def is_there(path: str) -> bool:
    """Whether a file or folder has this path or ends with it. NAME and * stand for any name."""
    pattern = re.escape(path).replace("NAME", "[^/]+").replace(r"\*", "[^/]*")
    return any(re.search(f"/{pattern}$", found) for found in paths())


def unknown(text: str) -> list[str]:
    """What a page puts between backticks and the tree does not have; of its commands, the files and targets."""
    blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    commands = re.sub(r"(?:^|\s)#.*", "", blocks, flags=re.MULTILINE)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    files = [span for span in spans if FILE.fullmatch(span) and span not in MADE_WHEN_IT_RUNS]
    files += re.findall(r"(?<!\S)(?:tests|\.ci|docs)/[\w./-]*\w", commands)
    names = [span for span in spans if NAME.fullmatch(span) and not FILE.fullmatch(span)]
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"(?:^|`)make ([\w-]+)", f"{commands}\n{prose}", re.MULTILINE)
    return [
        *(file for file in files if not (is_there(file) or is_there(f"{file}/"))),
        *(name for name in names if not words().issuperset(re.findall(r"\w+", name.partition("(")[0]))),
        *(target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)),
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_the_page_names_is_in_the_tree(page: Path) -> None:
    assert unknown(page.read_text()) == []


def test_every_package_and_module_has_its_place_in_the_architecture() -> None:
    page = (EXTEND / "architecture.md").read_text()
    packages = {
        PurePosixPath(file).parts[1] for file in files_of_the_tree() if re.match(r"inpainting/\w+/.*\.py$", file)
    }
    assert {name for name in packages - {"migrations", "templatetags"} if f"`{name}/`" not in page} == set()


def test_what_is_not_there_is_found() -> None:
    page = (
        "`core/masks.py` `core/no_masks.py` `Planner` `NoPlanner.plan` `no_folder/`\n\n```sh\nmake run\nmake tea\n```\n"
    )
    assert unknown(page) == ["core/no_masks.py", "no_folder/", "NoPlanner.plan", "tea"]

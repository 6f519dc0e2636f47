#!/usr/bin/env python3
"""Build the documentation as a site: `tools/docs/build.py [--quick] [FOLDER]`, for `make docs`.

1. Pictures are drawn and figures are measured; --quick keeps those of the repository.
2. The pages of docs/ are laid into FOLDER/pages, beside those made from docstrings, headers and examples. Links that
   leave docs/ are turned to the pages that these files have become.
3. MkDocs makes FOLDER/site of it, strictly: a broken link or a page that is in no menu ends the build.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent)]
sys.path.append(str(ROOT / "python"))  # behind a build on PYTHONPATH

import figures  # noqa: E402
import pictures  # noqa: E402
import python_reference  # noqa: E402
import screen  # noqa: E402
import sweep  # noqa: E402
from man_pages import HEADERS, Header, markdown  # noqa: E402

# what lies outside docs/ and has a page of its own
PROJECT = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "examples": "programs/README.md",
    "docs/howto": "howto/README.md",
    "docs/design": "design/README.md",
}
_LONG_NAME = re.compile(r"(?<!`)`([^`\s]{20,})`(?!`)")  # in a table
_FENCE = re.compile(r"(^```.*?^```$)", re.S | re.M)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def page_of(path: Path) -> str | None:
    """Where in the site a file of the repository is found."""
    try:
        name = path.relative_to(ROOT).as_posix()
    except ValueError:
        return None
    if name in PROJECT:
        return PROJECT[name]
    if name.startswith("docs/"):
        return name[len("docs/") :]
    if name.startswith("examples/") and path.suffix in (".py", ".c"):
        return f"programs/{path.parent.name}/{path.stem}.md"
    return None


def with_links(text: str, source: Path, page: str) -> str:
    """The text of the repository's file `source`, with links that hold where it becomes `page`."""

    def link(match: re.Match[str]) -> str:
        picture, words, target = match.groups()
        path, sharp, anchor = target.partition("#")
        if "://" in target or not path:
            return match[0]
        other = page_of((source.parent / path).resolve())
        if other is None:
            return words if words.startswith("`") else f"`{words}`"
        return f"{picture}[{words}]({os.path.relpath(other, Path(page).parent)}{sharp}{anchor})"

    parts = _FENCE.split(text)
    return "".join(part if part.startswith("```") else _LINK.sub(link, part) for part in parts)


def with_reasons(text: str) -> str:
    """Below each block of which the page does not show all the reader is told why."""

    def told(match: re.Match[str]) -> str:
        reason = re.search(r'\b(skip|unshown|by|part)=(?:"([^"]*)"|(\S+))', match[1])
        if reason is None:
            return match[0]
        said = {
            "skip": "Not run by the tests: {}.",
            "unshown": "Run by the tests; what it prints is not shown: {}.",
            "by": "Run by {}.",
            "part": "A part of {}, which the tests run.",
        }
        return f"{match[0]}\n<small>{said[reason[1]].format(reason[2] or reason[3])}</small>\n"

    return re.sub(r"<!-- block: (.*?) -->\n```.*?^```\n", told, text, flags=re.S | re.M)


def with_breaks(text: str) -> str:
    """Long names in the cells of tables may be broken behind a dot, a stroke or an underline, so that columns fit."""

    def broken(match: re.Match[str]) -> str:
        parts = re.split(r"(?<=[._/])(?=\w)", match[1])
        letters = ("".join(f"&#{ord(c)};" if c in "*_<>&[]" else c for c in part) for part in parts)
        return f"<code>{'<wbr>'.join(letters)}</code>"

    lines = text.split("\n")
    for number, line in enumerate(lines):
        if line.startswith("| "):
            lines[number] = _LONG_NAME.sub(broken, line)
    return "\n".join(lines)


class Pages:
    """The folder that MkDocs reads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)

    def write(self, page: str, text: str) -> None:
        path = self.folder / page
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def copy_docs(self) -> None:
        for path in sorted((ROOT / "docs").rglob("*")):
            name = path.relative_to(ROOT / "docs").as_posix()
            if path.suffix == ".md":
                self.write(name, with_breaks(with_reasons(with_links(path.read_text(), path, name))))
            elif path.is_file() and path.suffix in (".svg", ".png", ".css", ".js"):
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, self.folder / name)

    def project(self) -> None:
        for name in ("CONTRIBUTING.md", "CHANGELOG.md"):
            page = PROJECT[name]
            self.write(page, with_links((ROOT / name).read_text(), ROOT / name, page))

    def programs(self) -> list[str]:
        """A page for each example, with the whole of it; the lines of the menu."""
        menu, index = [], "# Programs\n\nEach is run by the tests.\n"
        for language, suffix, title in (("python", ".py", "Python"), ("c", ".c", "C")):
            index += f"\n## {title}\n\n"
            menu.append(f"      - {title}:")
            for path in sorted((ROOT / "examples" / language).glob("*" + suffix)):
                page = f"programs/{language}/{path.stem}.md"
                text = path.read_text()
                self.write(
                    page, f"# {path.name}\n\n`examples/{language}/{path.name}`\n\n```{language}\n{text}```\n"
                )
                index += f"- [{path.name}]({language}/{path.stem}.md): {first_sentence(text)}\n"
                menu.append(f"        - {path.name}: {page}")
        self.write("programs/README.md", index)
        return menu

    def design(self) -> list[str]:
        return [
            f"          - design/{path.name}" for path in sorted((ROOT / "docs" / "design").glob("0*.md"))
        ]

    def c_reference(self) -> list[str]:
        menu = []
        for path in sorted(HEADERS.glob("*.h")):
            header = Header(path)
            self.write(f"reference/c/{header.name}.md", markdown(header))
            menu.append(f"        - {path.name}: reference/c/{header.name}.md")
        return menu

    def python_reference(self) -> list[str]:
        menu = []
        for module, text in python_reference.pages():
            self.write(f"reference/python/{module}.md", text)
            name = module.removeprefix("manyhands.multiprocessing.")  # the menu is narrow
            menu.append(f"        - {name}: reference/python/{module}.md")
        return menu


def first_sentence(source: str) -> str:
    """Of the text at a program's beginning."""
    match = re.search(r'"""(.*?)"""|/\*(.*?)\*/', source, re.S)
    text = (
        " ".join(re.sub(r"^\s*\*\s?", "", line) for line in (match[1] or match[2]).split("\n"))
        if match
        else ""
    )
    return re.split(r"(?<=[.])\s", " ".join(text.split()))[0]


def shoot_window(out: Path) -> None:
    """The picture of the recipe; without a display that can be had the kept one stays."""
    program = ROOT / "examples" / "python" / "window.py"
    try:
        screen.shoot([sys.executable, str(program), "--demo", "3"], out, 2)
    except FileNotFoundError as error:
        print(f"docs: the kept picture of the window is used: {error}", file=sys.stderr)


def measure(docs: Path) -> None:
    """All figures and charts of the pages below `docs`, on this machine; what cannot be had is the kept one."""
    figures.renew(docs)
    shoot_window(docs / "pictures" / "window.png")
    picture = [
        sys.executable,
        str(ROOT / "tools" / "compare_picture"),
        str(docs / "pictures" / "compare.svg"),
    ]
    if subprocess.run(picture, check=False).returncode:
        print("docs: the kept picture of compare is used", file=sys.stderr)
    if not sweep.renew(docs):
        print("docs: the kept chart of messages is used", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="with the kept figures and pictures of programs")
    parser.add_argument("folder", nargs="?", default=str(ROOT / "build" / "docs"))
    options = parser.parse_args()
    folder = Path(options.folder)
    pages = Pages(folder / "pages")
    pages.copy_docs()
    pages.project()
    menus = {
        "programs": pages.programs(),
        "reference-c": pages.c_reference(),
        "reference-python": pages.python_reference(),
        "design": pages.design(),
    }
    pictures.write(folder / "pages" / "pictures")
    if not options.quick:
        measure(folder / "pages")
    text = (ROOT / "docs" / "mkdocs.yml").read_text()
    for name, lines in menus.items():
        text = re.sub(rf"^ *# made: {name}$", "\n".join(lines), text, flags=re.M)
    (folder / "mkdocs.yml").write_text(text)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(folder / "mkdocs.yml")]
    if subprocess.run(command, check=False, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}).returncode:
        return 1
    print(f"the site: {folder / 'site' / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Man pages and pages in Markdown from the public headers: `tools/man_pages.py FOLDER`.

Writes FOLDER/man3/*.3 (one for each function, one for each header: man 3 manyhands_channel) and FOLDER/md/*.md (one for
each header). A header's first comment is its overview; lines indented within it are the example. The comment above a
declaration is its contract; the line `Safety:` becomes a section of its own.

Run by `meson install`, the folder is $MESON_INSTALL_DESTDIR_PREFIX/share/man, and only the man pages are written.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from check_contracts import DECLARED, groups
from source import ROOT

HEADERS = ROOT / "include" / "manyhands"
COMMENT = re.compile(r"/\*(.*?)\*/", re.S)
VERSION = re.search(r'MH_VERSION "([^"]+)"', (HEADERS / "base.h").read_text())[1]  # type: ignore[index]
# what each part of a contract's last line is called on the page
PARTS = {"cancellation": "Cancellation", "allocs": "Allocates", "death": "After a death"}


def comment_lines(comment: str) -> list[str]:
    """Without the stars; what a line is indented by beyond them stays."""
    lines = [re.sub(r"^[ \t]*\* ?", "", line) for line in comment.strip().split("\n")]
    return [line.rstrip() for line in lines]


def blocks(lines: list[str]) -> list[tuple[bool, list[str]]]:
    """(is it an example, its lines): an example is indented by two and more, a paragraph ends at an empty line."""
    found: list[tuple[bool, list[str]]] = []
    previous_empty = True
    for line in lines:
        if not line:
            previous_empty = True
            continue
        example = line.startswith("  ")
        if found and found[-1][0] == example and (example or not previous_empty):
            if example and previous_empty:
                found[-1][1].append("")
            found[-1][1].append(line)
        else:
            found.append((example, [line]))
        previous_empty = False
    return found


def roff(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line[:1] in (".", "'") else line for line in text.split("\n"))


def roff_blocks(lines: list[str]) -> str:
    out = []
    for example, text in blocks(lines):
        if example:
            out.append(".PP\n.nf\n" + roff("\n".join(text)) + "\n.fi")
        else:
            out.append(".PP\n" + roff("\n".join(text)))
    return "\n".join(out)


def split_contract(comment: str) -> tuple[list[str], dict[str, str]]:
    """The description, and the parts of the Safety line by name."""
    text, _, safety = "\n".join(comment_lines(comment)).partition("Safety:")
    parts: dict[str, str] = {}
    for part in " ".join(safety.split()).split("|"):
        name, _, value = part.strip().partition(":")
        if value and name in PARTS:
            parts[PARTS[name]] = value.strip()
        elif part.strip():
            parts.setdefault("Safety" if "MT-" in part else "Waits", part.strip())
    return text.strip().split("\n"), parts


class Header:
    def __init__(self, path: Path) -> None:
        self.name = path.stem
        text = path.read_text()
        first = COMMENT.search(text)
        assert first is not None
        lines = comment_lines(first[1])
        title, _, rest = lines[0].partition(" - ")
        self.file = title
        self.overview = [rest, *lines[1:]]
        # (names declared, their declarations, the contract)
        self.functions: list[tuple[list[str], str, str]] = []
        for _, group in groups(text):
            names = DECLARED.findall(group)
            if not names or "MH_API" not in group:
                continue
            before = group[: group.index("MH_API")]
            comments = COMMENT.findall(before)
            code = COMMENT.sub("", group[group.index("MH_API") :])
            declarations = re.sub(r"\n{2,}", "\n", code.replace("MH_API ", "")).strip()
            self.functions.append((names, declarations, comments[-1] if comments else ""))

    def summary(self) -> str:
        """The first sentence of the overview, on one line."""
        return re.split(r"(?<=[.;:])\s", " ".join(self.overview).strip())[0].rstrip(".;:")


def page_head(name: str, summary: str) -> str:
    return (
        f'.TH "{name.upper()}" 3 "" "manyhands {VERSION}" "manyhands"\n.SH NAME\n{name} \\- {roff(summary)}\n'
    )


def function_page(header: Header, names: list[str], declarations: str, contract: str) -> str:
    description, parts = split_contract(contract)
    others = [name for other, _, _ in header.functions for name in other if name not in names]
    first = re.split(r"(?<=[.;:])\s", " ".join(description))[0].rstrip(".;:")
    out = page_head(", ".join(names), first)
    out += f".SH LIBRARY\nlibmanyhands (pkg\\-config manyhands)\n.SH SYNOPSIS\n.nf\n.B #include <{header.file}>\n.PP\n"
    out += roff(declarations) + "\n.fi\n.SH DESCRIPTION\n" + roff_blocks(description) + "\n.SH CONTRACT\n"
    for name, text in parts.items():
        out += f".TP\n.B {name}\n{roff(text)}\n"
    see = ["manyhands_" + header.name, *others[:12]]
    return out + ".SH SEE ALSO\n" + ", ".join(f"\\fB{roff(name)}\\fR(3)" for name in see) + "\n"


def header_page(header: Header) -> str:
    out = page_head("manyhands_" + header.name, header.summary())
    out += (
        f".SH SYNOPSIS\n.B #include <{header.file}>\n.SH DESCRIPTION\n" + roff_blocks(header.overview) + "\n"
    )
    names = [name for names, _, _ in header.functions for name in names]
    if names:
        out += ".SH FUNCTIONS\n" + ", ".join(f"\\fB{roff(name)}\\fR(3)" for name in names) + "\n"
    return out


def markdown(header: Header) -> str:
    out = f"# {header.file}\n\n"
    for example, text in blocks(header.overview):
        out += ("```c\n" + "\n".join(text) + "\n```\n\n") if example else "\n".join(text) + "\n\n"
    for names, declarations, contract in header.functions:
        description, parts = split_contract(contract)
        out += f"## {', '.join(names)}\n\n```c\n{declarations}\n```\n\n" + "\n".join(description) + "\n\n"
        out += "".join(f"- **{name}**: {text}\n" for name, text in parts.items()) + "\n"
    return out


def write_man(header: Header, folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"manyhands_{header.name}.3").write_text(header_page(header))
    count = 1
    for names, declarations, contract in header.functions:
        for name in names:
            (folder / f"{name}.3").write_text(function_page(header, names, declarations, contract))
            count += 1
    return count


def main(arguments: list[str]) -> int:
    prefix = os.environ.get("MESON_INSTALL_DESTDIR_PREFIX")
    if not arguments and prefix is None:
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(arguments[0]) if arguments else Path(str(prefix)) / "share" / "man"
    pages = 0
    for path in sorted(HEADERS.glob("*.h")):
        header = Header(path)
        pages += write_man(header, folder / "man3")
        if arguments:
            (folder / "md").mkdir(parents=True, exist_ok=True)
            (folder / "md" / f"{header.name}.md").write_text(markdown(header))
    if arguments:
        print(f"{pages} man pages in {folder}/man3, a page for each header in {folder}/md")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

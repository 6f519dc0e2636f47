#!/usr/bin/env python3
"""Ask every link that leads out of the project: `tools/docs/links.py [--timeout SECONDS]`, for `make links`.

Each address is asked once, wherever it stands; who does not answer is asked once more. A table says what came of it and
where the link stands. Exit status 1: one leads nowhere. A page that has moved for good is told with its new address.
"""

from __future__ import annotations

import argparse
import re
import ssl
import sys
from collections.abc import Iterator
from http.client import HTTPException, InvalidURL
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

ROOT = Path(__file__).resolve().parents[2]
# what readers see: pages, docstrings, the table of troubles, comments of headers, programs
FOLDERS = ("docs", "examples", "include", "python", "ext")
SUFFIXES = {".md", ".py", ".pyi", ".c", ".h", ".yml", ".toml", ".css", ".js", ".svg"}
# Some sites turn away who does not say what it is.
WHO = "manyhands-links/1 (looks whether links of a documentation hold)"
PERMANENT = (301, 308)

# an address in text, with the brackets that it opens itself, and a target in Markdown, whatever its scheme
_ADDRESS = re.compile(
    r"""https?://(?:\([^\s()]*\)|[^\s()<>"'`\]])+|(?<=\]\()[a-z][a-z0-9+.-]*:[^)\s]*""", re.I
)
_WELL_FORMED = re.compile(
    r"https://([a-z0-9-]+\.)+[a-z]{2,}(:\d+)?([/?#]([\w.~!$&'()*+,;=:@/?#-]|%[0-9a-f]{2})*)?", re.I | re.A
)


class Answer(NamedTuple):
    state: str  # good, moved, failed, silent
    words: str


# ---- which there are


def sources(root: Path) -> Iterator[Path]:
    yield from sorted(path for path in root.iterdir() if path.suffix in SUFFIXES)
    for folder in FOLDERS:
        yield from sorted(path for path in (root / folder).rglob("*") if path.suffix in SUFFIXES)


def leads_out(address: str) -> bool:
    """Names of XML are no addresses: nobody fetches them. A program's own server is up while the program runs, and its
    port is a placeholder in the sources."""
    if address.startswith("http://www.w3.org/"):
        return False
    return re.match(r"https?://(127\.0\.0\.1|localhost)\b", address) is None


def outer_links(root: Path = ROOT) -> dict[str, list[str]]:
    """Each address, with the files and lines in which it stands."""
    found: dict[str, list[str]] = {}
    for path in sources(root):
        for number, line in enumerate(path.read_text().split("\n"), 1):
            for match in _ADDRESS.finditer(line):
                address = match[0].rstrip(".,;:!?*|")
                if leads_out(address):
                    found.setdefault(address, []).append(f"{path.relative_to(root)}:{number}")
    return found


def well_formed(address: str) -> bool:
    return _WELL_FORMED.fullmatch(address) is not None


# ---- where they lead


class Redirects(HTTPRedirectHandler):
    """Follows them, and keeps where the page is now, as far as it has moved for good."""

    def __init__(self) -> None:
        self.moved_to = ""
        self._for_good = True

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        self._for_good = self._for_good and code in PERMANENT
        if self._for_good:
            self.moved_to = newurl
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def ask(address: str, timeout: float) -> Answer:
    found = ask_once(address, timeout)
    return found if found.state != "silent" else ask_once(address, timeout)


def ask_once(address: str, timeout: float) -> Answer:
    redirects = Redirects()
    try:
        request = Request(address, headers={"User-Agent": WHO})
        with build_opener(redirects).open(request, timeout=timeout) as page:
            words = str(page.status)
    except HTTPError as error:
        error.close()
        return Answer("failed", f"{error.code} {error.reason}")
    except (OSError, HTTPException, ValueError) as error:
        return failure(error)
    return Answer("moved", redirects.moved_to) if redirects.moved_to else Answer("good", words)


def failure(error: Exception) -> Answer:
    """Who refuses has answered, and what is no address stays none; all else may be the network's fault."""
    reason = error.reason if isinstance(error, URLError) else error
    final = isinstance(reason, (ConnectionRefusedError, ssl.SSLError, InvalidURL))
    silent = isinstance(reason, (OSError, HTTPException)) and not final
    return Answer("silent" if silent else "failed", str(reason) or type(reason).__name__)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":")[0])
    parser.add_argument("--timeout", type=float, default=20.0, metavar="SECONDS")
    timeout = parser.parse_args(words).timeout
    states = []
    for address, places in sorted(outer_links().items()):
        state, said = ask(address, timeout)
        states.append(state)
        print(f"{state:8}{address:50} {said:30} {', '.join(places)}", flush=True)
    counts = {state: states.count(state) for state in ("moved", "failed", "silent")}
    print(f"{len(states)} links: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
    return 1 if counts["failed"] or counts["silent"] else 0


if __name__ == "__main__":
    sys.exit(main())

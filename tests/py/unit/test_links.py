"""Links that lead out of the project: they are found, well formed, and `make links` tells those that hold from others.

The servers are on this machine: the tests need no network.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools" / "docs"))
import links  # noqa: E402

PATIENCE = 60.0  # for servers that answer
BRIEF = 0.05  # for those that never do


class Kitchen(BaseHTTPRequestHandler):
    """301/a/b leads on to /a/b for good, 302/a/b for now; late answers the second time; else the path is the status."""

    asked: Counter[str]
    agents: set[str | None]

    def do_GET(self) -> None:
        self.asked[self.path] += 1
        self.agents.add(self.headers["User-Agent"])
        first, _, rest = self.path.lstrip("/").partition("/")
        if first == "late":
            if self.asked[self.path] == 1:
                return  # the connection is closed without a word
            first = "200"
        self.send_response(int(first))
        if rest:
            self.send_header("Location", f"/{rest}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *words: object) -> None:
        pass


@pytest.fixture
def kitchen(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "*")
    Kitchen.asked, Kitchen.agents = Counter(), set()
    with ThreadingHTTPServer(("127.0.0.1", 0), Kitchen) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("path", "state", "words"),
    [
        ("/200", "good", "200"),
        ("/404", "failed", "404 Not Found"),
        ("/500", "failed", "500 Internal Server Error"),
        ("/302/200", "good", "200"),
        ("/301/404", "failed", "404 Not Found"),
        ("/302/301/200", "good", "200"),
    ],
)
def test_what_an_answer_means(kitchen: str, path: str, state: str, words: str) -> None:
    assert links.ask(kitchen + path, PATIENCE) == (state, words)
    assert max(Kitchen.asked.values()) == 1 and Kitchen.agents == {links.WHO}


@pytest.mark.parametrize("code", links.PERMANENT)
def test_what_has_moved_is_told_with_its_new_address(kitchen: str, code: int) -> None:
    assert links.ask(f"{kitchen}/{code}/200", PATIENCE) == ("moved", f"{kitchen}/200")
    # as far as it has moved for good: where that leads for now may be another place tomorrow
    assert links.ask(f"{kitchen}/{code}/301/302/200", PATIENCE) == ("moved", f"{kitchen}/302/200")


def test_who_does_not_answer_is_asked_once_more(kitchen: str) -> None:
    assert links.ask(f"{kitchen}/late", PATIENCE) == ("good", "200")
    assert Kitchen.asked["/late"] == 2


def test_a_server_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        state, words = links.ask(f"http://127.0.0.1:{listener.getsockname()[1]}/", BRIEF)
        assert state == "silent" and "timed out" in words
        listener.setblocking(False)
        for _ in range(2):
            listener.accept()[0].close()
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_who_refuses(kitchen: str) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # and does not listen
        state, words = links.ask(f"http://127.0.0.1:{deaf.getsockname()[1]}/", PATIENCE)
    assert state == "failed" and "refused" in words
    state, words = links.ask(kitchen.replace("http:", "https:"), PATIENCE)
    assert state == "failed" and "SSL" in words


@pytest.mark.parametrize("address", ["http://127.0.0.1/a b", "htps://127.0.0.1/", "127.0.0.1"])
def test_what_is_no_address(address: str) -> None:
    assert links.ask(address, PATIENCE).state == "failed"


def test_the_table_and_the_exit_status(
    kitchen: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {f"{kitchen}/200": ["docs/a.md:3", "docs/b.md:1"], f"{kitchen}/301/200": ["docs/a.md:4"]}
    monkeypatch.setattr(links, "outer_links", lambda: found)
    assert links.main([]) == 0
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert said == [
        ["good", f"{kitchen}/200", "200", "docs/a.md:3,", "docs/b.md:1"],
        ["moved", f"{kitchen}/301/200", f"{kitchen}/200", "docs/a.md:4"],
        ["2", "links:", "1", "moved,", "0", "failed,", "0", "silent"],
    ]
    assert Kitchen.asked["/301/200"] == 1 and Kitchen.asked["/200"] == 2, "each once, wherever it stands"
    found[f"{kitchen}/404"] = ["README.md:1"]
    assert links.main([]) == 1
    assert "404 Not Found" in capsys.readouterr().out
    del found[f"{kitchen}/404"]
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        monkeypatch.setattr(
            links, "outer_links", lambda: {f"http://127.0.0.1:{listener.getsockname()[1]}": ["a"]}
        )
        assert links.main(["--timeout", str(BRIEF)]) == 1
    assert "0 failed, 1 silent" in capsys.readouterr().out


def test_links_are_found_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(
        "first\n[a](https://a.org/x_(y)), [b](https://b.org)[c](htps://c.org)\n"
    )
    (tmp_path / "docs" / "page.md").write_text(
        "| <https://d.org/> | `https://e.org`. | (see https://b.org) |\n"
    )
    (tmp_path / "docs" / "in.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg">')
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "one.py").write_text(
        'f"http://127.0.0.1:{port}/" "http://localhost:8000" "http://f.org"'
    )
    assert links.outer_links(tmp_path) == {
        "https://a.org/x_(y)": ["README.md:2"],
        "https://b.org": ["README.md:2", "docs/page.md:1"],
        "htps://c.org": ["README.md:2"],
        "https://d.org/": ["docs/page.md:1"],
        "https://e.org": ["docs/page.md:1"],
        "http://f.org": ["python/one.py:1"],
    }


@pytest.mark.parametrize(
    "address",
    ["http://a.org", "htps://a.org", "https://a", "https:///x", "https://a.org/%zz", "https://a.org/{x}",
     "https://a_b.org", "https://a.org|", "https://a.org/ä", "mailto:a@b.org", "https://.org"],
)  # fmt: skip
def test_what_is_not_well_formed(address: str) -> None:
    assert not links.well_formed(address)


def test_every_link_of_the_project_is_well_formed() -> None:
    found = links.outer_links()
    assert len(found) >= 5, "there are some"
    assert {address: places for address, places in found.items() if not links.well_formed(address)} == {}

"""Fetch and parse many pages: threads wait for the network, processes read what came.

    python fetch_pages.py [URL [LIMIT]]

Follows the links of a site, at most LIMIT pages (200), and says what it found. Without a URL it serves a small site
from this machine, whose pages take 50 ms each, and compares one thread with sixteen.
"""

import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import FIRST_COMPLETED, wait
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import manyhands


class Reader(HTMLParser):
    """Collects the links and the words of a page."""

    def __init__(self):
        super().__init__()
        self.links, self.words = [], 0

    def handle_starttag(self, tag, attributes):
        if tag == "a":
            self.links += [value for name, value in attributes if name == "href" and value]

    def handle_data(self, data):
        self.words += len(data.split())


def fetch(url):
    """In a thread: it waits most of the time."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return url, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:  # an answer as well: not to be asked again
        return url, f"<p>{error.code}</p>"


def parse(page):
    """In a process: it computes."""
    url, text = page
    reader = Reader()
    reader.feed(text)
    return (
        url,
        [urllib.parse.urldefrag(urllib.parse.urljoin(url, link)).url for link in reader.links],
        reader.words,
    )


def crawl(first, limit, threads=16):
    """Every page is fetched once; parsing begins as soon as one is there."""
    site = urllib.parse.urlsplit(first).netloc
    seen, words = {first}, {}
    with manyhands.Executor("threads", threads) as fetchers, manyhands.Executor("processes") as parsers:
        patient = fetchers.options(retries=2, retry_on=OSError, backoff=0.1)
        pending = {patient.submit(fetch, first)}
        parsing = set()
        while pending or parsing:
            done, _ = wait(pending | parsing, return_when=FIRST_COMPLETED)
            for future in done & pending:
                parsing.add(parsers.submit(parse, future.result()))
            for future in done & parsing:
                url, links, count = future.result()
                words[url] = count
                new = {link for link in links if urllib.parse.urlsplit(link).netloc == site} - seen
                new = set(sorted(new)[: limit - len(seen)])
                seen |= new
                pending |= {patient.submit(fetch, link) for link in new}
            pending -= done
            parsing -= done
    return words


# ---- a site to try it on


class Site(BaseHTTPRequestHandler):
    """Sixty pages, a tree; each answer takes its time, as answers do."""

    def do_GET(self):
        time.sleep(0.05)
        number = int(self.path.strip("/") or 0)
        links = "".join(
            f'<a href="/{n}">page {n}</a> ' for n in range(4 * number + 1, 4 * number + 5) if n < 60
        )
        body = f"<html><p>{'word ' * number}</p>{links}</html>".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        """Nothing."""


def main():
    if len(sys.argv) > 1:
        words = crawl(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 200)
        print(f"{len(words)} pages, {sum(words.values())} words")
        return
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for threads in (1, 16):
        began = time.monotonic()
        words = crawl(f"http://127.0.0.1:{server.server_port}/", 200, threads)
        seconds = time.monotonic() - began
        print(f"{threads:2} threads: {len(words)} pages, {sum(words.values())} words in {seconds:.1f} s")
    server.shutdown()


if __name__ == "__main__":
    main()

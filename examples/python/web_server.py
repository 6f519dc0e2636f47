"""A web server whose requests do not wait for a heavy job: threads answer, processes compute.

    python web_server.py [PORT]

    /               answers at once
    /primes/100000  computes: at most two at a time, the others wait in line; 503 after ten seconds
    /status         what the workers have done

Ctrl-C or SIGTERM ends it: requests that run are answered first.
"""

import json
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import manyhands

WORKERS, LIMIT = 2, 10


def count_primes(below):
    return sum(n > 1 and all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(below))


class Handler(BaseHTTPRequestHandler):
    """One thread for each request: it may wait, the others do not notice."""

    protocol_version = "HTTP/1.1"
    timeout = 5  # an idle connection of a browser does not hold up the end

    def do_GET(self):
        name, _, words = self.path.strip("/").partition("/")
        if name == "":
            self.answer(200, {"hello": "here I am"})
        elif name == "primes" and words.isdecimal():
            self.compute(int(words))
        elif name == "status":
            figures = self.server.executor.statistics()
            self.answer(
                200,
                {"workers": len(figures.workers), "done": figures.tasks, "seconds": round(figures.work, 2)},
            )
        else:
            self.answer(404, {"error": "there is /, /primes/NUMBER and /status"})

    def compute(self, below):
        future = self.server.executor.options(timeout=LIMIT).submit(count_primes, below)
        try:
            self.answer(200, {"below": below, "primes": future.result()})
        except TimeoutError:
            self.answer(503, {"error": f"took longer than {LIMIT} seconds"})
        except manyhands.WorkerDiedError as error:
            self.answer(500, {"error": str(error)})

    def answer(self, status, value):
        body = json.dumps(value).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        """Not each request."""


def main():
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    with manyhands.Executor("processes", max_workers=WORKERS) as executor:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        server.executor = executor
        server.daemon_threads = False  # its close waits for the requests that run

        def stop(*_):
            threading.Thread(target=server.shutdown).start()  # shutdown() waits for the loop that we are in

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        print(f"http://127.0.0.1:{server.server_port}/", flush=True)
        server.serve_forever(poll_interval=0.1)
        server.server_close()
    print("closed")


if __name__ == "__main__":
    main()

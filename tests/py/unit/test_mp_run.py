"""Programs with multiprocessing, unmodified: under ``python -m manyhands run`` they print what they print without."""

import os
import subprocess
import sys
import textwrap

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

HEAD = """
import multiprocessing as mp
import sys
"""

PROGRAMS = {
    "managers": """
        from multiprocessing.managers import BaseManager, SharedMemoryManager, SyncManager

        class Counter:
            def __init__(self):
                self.n = 0
            def add(self, by=1):
                self.n += by
                return self.n

        class Mine(BaseManager):
            pass

        Mine.register("Counter", Counter)

        def work(shared, items, space, queue, lock, counter, event):
            event.wait(30)
            with lock:
                shared["n"] = shared.get("n", 0) + 1
                items.append(len(items))
                space.last = "set"
            counter.add(2)
            queue.put(("done", [1, 2]))

        def main(method):
            context = mp.get_context(method)
            with context.Manager() as manager, Mine(ctx=context) as own:
                assert isinstance(manager, SyncManager)
                shared, items, space = manager.dict(), manager.list(), manager.Namespace()
                queue, lock, event, counter = manager.Queue(), manager.RLock(), manager.Event(), own.Counter()
                arguments = shared, items, space, queue, lock, counter, event
                processes = [context.Process(target=work, args=arguments) for _ in range(3)]
                for process in processes:
                    process.start()
                event.set()
                for process in processes:
                    process.join(60)
                print(method, dict(shared), list(items), space.last, [queue.get() for _ in processes], counter.add(0))
                pool = manager.Pool(2)
                print(pool.map(abs, [-1, -2, 3]))
                print(manager.Value("i", 5).value, list(manager.Array("i", [1, 2])), manager.Barrier(1).wait())
                nested = manager.list([manager.dict(a=1)])
                print(nested[0]["a"], type(nested).__name__, [p.exitcode for p in processes])
            with SharedMemoryManager(ctx=context) as memory:
                numbers = memory.ShareableList([1, "two", 3.0])
                print(list(numbers))
    """,
    "remote managers": """
        import threading
        from multiprocessing.managers import BaseManager

        class Remote(BaseManager):
            pass

        stored = {}
        Remote.register("stored", callable=lambda: stored)

        def client(address):
            manager = Remote(address, authkey=b"right")
            manager.connect()
            manager.stored().update({"from": "child"})
            wrong = Remote(address, authkey=b"wrong")
            try:
                wrong.connect()
            except mp.AuthenticationError:
                sys.exit(3)

        def main(method):
            context = mp.get_context(method)
            server = Remote(("127.0.0.1", 0), authkey=b"right").get_server()
            threading.Thread(target=server.serve_forever, daemon=True).start()
            process = context.Process(target=client, args=(server.address,))
            process.start()
            process.join(60)
            print(stored, process.exitcode)
    """,
    "listeners": """
        from multiprocessing.connection import Client, Listener, wait
        import threading

        def client(address, key, family):
            try:
                with Client(address, family=family, authkey=key) as connection:
                    connection.send(["hello", 1.5])
                    sys.exit(connection.recv() == "answer")
            except mp.AuthenticationError:
                sys.exit(5)
            except (EOFError, ConnectionError):
                sys.exit(6)

        def main(method):
            context = mp.get_context(method)
            for family in ("AF_INET", "AF_UNIX"):
                address = ("127.0.0.1", 0) if family == "AF_INET" else None
                with Listener(address, family, authkey=b"secret") as listener:
                    address = listener.address
                    for key in (b"secret", b"guess"):
                        process = context.Process(target=client, args=(listener.address, key, family))
                        process.start()
                        try:
                            with listener.accept() as connection:
                                print(wait([connection], 30) == [connection], connection.recv())
                                connection.send_bytes(mp.reduction.ForkingPickler.dumps("answer"))
                                connection.poll(30)
                        except mp.AuthenticationError as error:
                            print("listener refused", type(error).__name__)
                        process.join(60)
                        print(family, process.exitcode)
                try:
                    Client(address, authkey=b"secret")
                except (ConnectionError, FileNotFoundError):
                    print("nobody listens")
    """,
    "logging": """
        import logging
        import logging.handlers

        def work(queue, number):
            handler = logging.handlers.QueueHandler(queue)
            root = logging.getLogger()
            root.addHandler(handler)
            root.setLevel(logging.DEBUG)
            for step in range(5):
                logging.getLogger("work").info("%d.%d", number, step, extra={"number": number})

        class Keep(logging.Handler):
            def __init__(self):
                super().__init__()
                self.kept = []
            def emit(self, record):
                self.kept.append((record.number, record.getMessage()))

        def main(method):
            context = mp.get_context(method)
            queue, keep = context.Queue(), Keep()
            listener = logging.handlers.QueueListener(queue, keep)
            listener.start()
            processes = [context.Process(target=work, args=(queue, n)) for n in range(3)]
            for process in processes:
                process.start()
            for process in processes:
                process.join(60)
            listener.stop()
            for number in range(3):
                print([text for n, text in keep.kept if n == number])
            logger = mp.log_to_stderr(logging.WARNING)
            print(logger is mp.get_logger(), logger.name, logger.getEffectiveLevel())
    """,
    "queues": """
        import queue as std_queue

        def work(jobs, results):
            for job in iter(jobs.get, None):
                results.put((job, job ** 2))
                jobs.task_done()
            jobs.task_done()

        def main(method):
            context = mp.get_context(method)
            jobs, results = context.JoinableQueue(), context.SimpleQueue()
            processes = [context.Process(target=work, args=(jobs, results), daemon=True) for _ in range(2)]
            for process in processes:
                process.start()
            for job in range(50):
                jobs.put(job)
            jobs.join()
            print(sorted(results.get() for _ in range(50)) == [(n, n * n) for n in range(50)], results.empty())
            for process in processes:
                jobs.put(None)
            for process in processes:
                process.join(60)
            print([p.exitcode for p in processes], jobs.qsize(), jobs.empty())
            try:
                jobs.get(timeout=0.01)
            except std_queue.Empty:
                print("empty")
            small = context.Queue(1)
            small.put("x")
            try:
                small.put("y", block=False)
            except std_queue.Full:
                print("full", small.full())
            small.close()
            small.join_thread()
    """,
}
TAIL = """
if __name__ == "__main__":
    main(sys.argv[1])
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_prints_the_same(tmp_path, name, method):
    if name == "remote managers" and method == "fork" and sys.version_info >= (3, 12):
        pytest.skip("forks while a thread serves: a warning on stderr there, too")
    file = tmp_path / "program.py"
    file.write_text(HEAD + textwrap.dedent(PROGRAMS[name]) + TAIL)
    said = []
    for command in ([sys.executable], [sys.executable, "-m", "manyhands", "run"]):
        done = subprocess.run(
            [*command, file, method], capture_output=True, text=True, timeout=120, env=dict(os.environ)
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert said[1] == said[0] and said[0].strip()


def test_they_are_ours(tmp_path):
    file = tmp_path / "program.py"
    file.write_text(
        "import multiprocessing as mp\nprint(type(mp.get_context('spawn').Queue()).put.__name__, mp.__name__)\n"
    )
    command = [sys.executable, "-m", "manyhands", "run", file]
    assert (
        "manyhands.multiprocessing"
        in subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    )

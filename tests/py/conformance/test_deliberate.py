"""Our own tests of what `deliberate.txt` lists: ours by default, the standard library's in strict mode."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import manyhands
import manyhands.queue
import pytest
from runner.judge import read_deliberate
from runner.suites import SUITES

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(
    not manyhands.compiled(), reason="without the core both modes are the stdlib's"
)


def output(mode, code):
    """The words that `code` prints in a process in that mode."""
    env = {k: v for k, v in os.environ.items() if k != "MANYHANDS_COMPAT"}
    if mode == "strict":
        env["MANYHANDS_COMPAT"] = "strict"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_every_line_names_a_suite_and_a_replacement_that_exists():
    tests = Path(__file__).read_text()
    for suite, _, reason in read_deliberate(HERE / "deliberate.txt"):
        assert any(suite.rstrip("*") in name for name in SUITES), suite
        found = re.search(r"(test_\w+)\)$", reason.strip())
        assert found and f"def {found[1]}(" in tests, f"no test of ours stands for: {reason}"


def test_public_names():
    code = """
        import threading, manyhands.threading as ours
        print(*sorted(set(ours.__all__) ^ set(threading.__all__)))
    """
    assert output("strict", code) == []
    extra = output("default", code)
    assert {"Outcome", "RWLock", "ThreadState"} <= set(extra)
    for name in extra:
        assert hasattr(manyhands.threading, name)


def test_getsizeof_counts_the_ring():
    for queue in (manyhands.queue.SimpleQueue(), manyhands.queue.Queue()):
        queue.put(0)
        before = sys.getsizeof(queue)
        for _ in range(1000):
            queue.put(0)
        assert 1000 * 8 <= sys.getsizeof(queue) - before <= 2048 * 8


def test_a_closed_queue_says_so():
    code = """
        import manyhands.multiprocessing as mp
        queue = mp.Queue()
        queue.close()
        try:
            print(queue.empty())
        except ValueError as error:
            print("closed" if "is closed" in str(error) else error)
    """
    assert output("strict", code) == ["True"]
    assert output("default", code) == ["closed"]


def test_put_of_what_cannot_be_pickled_raises():
    code = """
        import manyhands.multiprocessing as mp
        class Odd:
            def __reduce__(self):
                raise AttributeError("no")
        queue = mp.Queue()
        try:
            queue.put(Odd())
        except AttributeError:
            print("raised")
        queue.put("next")
        print(queue.get(timeout=30), queue.empty())
    """
    assert output("strict", code) == ["next", "True"]
    assert output("default", code) == ["raised", "next", "True"]


def test_attaching_tracks_nothing():
    code = """
        import manyhands.multiprocessing.shared_memory as shared_memory
        from multiprocessing import resource_tracker
        registered = []
        resource_tracker.register = lambda name, kind: registered.append(kind)
        resource_tracker.unregister = lambda name, kind: None
        block = shared_memory.SharedMemory(create=True, size=16)
        made = len(registered)
        other = shared_memory.SharedMemory(block.name)
        print(made, len(registered) - made)
        other.close(), block.close(), block.unlink()
    """
    assert output("default", code) == ["1", "0"]
    assert output("strict", code) == ["1", "1"]


def test_start_methods_mix(tmp_path):
    script = tmp_path / "mix.py"
    script.write_text("""if True:
        import manyhands.multiprocessing as mp
        def work(queue, lock):
            with lock:
                queue.put("hello")
        if __name__ == "__main__":
            fork = mp.get_context("fork")
            queue, lock = fork.Queue(), fork.Lock()
            process = mp.get_context("spawn").Process(target=work, args=(queue, lock))
            try:
                process.start()
            except RuntimeError as error:
                print("refused")
            else:
                process.join()
                print(queue.get(timeout=30))
    """)
    # the script is its own main, so that a spawned child can import it
    main = f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, {str(script)!r}]).returncode)"
    assert output("default", main) == ["hello"]
    assert output("strict", main) == ["refused"]


def test_a_lock_has_a_name_in_strict_mode_only():
    code = """
        import gc, os
        import manyhands.multiprocessing as mp
        before = set(os.listdir("/dev/shm"))
        lock, condition = mp.get_context("spawn").Lock(), mp.get_context("spawn").Condition()
        print(getattr(lock._semlock, "name", None) is not None, len(set(os.listdir("/dev/shm")) - before))
        with lock, condition:
            print(lock._semlock._is_mine(), condition.wait(0.01))
        del lock, condition
        gc.collect()
        print(len(set(os.listdir("/dev/shm")) - before))
    """
    assert output("default", code) == ["False", "0", "True", "False", "0"]
    assert output("strict", code) == ["True", "2", "True", "False", "0"]


EXECUTOR = """
    import os, pickle, signal
    import manyhands.multiprocessing as mp
    from manyhands import futures

    class Bad:
        def __reduce__(self):
            return int, ("no number",)

    def made():
        return Bad()

    def say(executor, function, *args):
        try:
            print(type(executor.submit(function, *args).exception(timeout=60)).__name__)
            print(executor.submit(abs, -3).result(timeout=60))
        except futures.process.BrokenProcessPool:
            print("refused")

    executor = futures.ProcessPoolExecutor(1, mp_context=mp.get_context("fork"))
    assert executor.submit(abs, -2).result(timeout=60) == 2
"""


def test_a_killed_worker_costs_its_task_alone():
    code = EXECUTOR + "    say(executor, signal.raise_signal, signal.SIGKILL)\n"
    assert output("default", code) == ["WorkerDiedError", "3"]
    assert output("strict", code) == ["BrokenProcessPool", "refused"]


LIMITED = """if True:
    import gc, sys
    import manyhands.multiprocessing as mp
    from manyhands import futures

    def after(started, gate, value):
        started.set()
        gate.wait(60)
        return value

    def told(task):
        if task.cancelled():
            return "cancelled"
        error = task.exception(60)
        return str(task.result()) if error is None else type(error).__mro__[1].__name__

    def refuse(*args, **kwargs):
        raise OSError("no process just now")

    if __name__ == "__main__":
        context = mp.get_context("spawn")
        with context.Manager() as manager:
            started, gate = manager.Event(), manager.Event()
            executor = futures.ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1)
            tasks = [executor.submit(after, started, gate, i) for i in range(3)]
            assert started.wait(60)
            if sys.argv[1] == "terminated":
                executor.terminate_workers()
            elif sys.argv[1] == "unreplaceable":
                context.Process = refuse
            else:
                if sys.argv[1] == "shut down":
                    executor.shutdown(wait=False)
                del executor
                gc.collect()
            gate.set()
            futures.wait(tasks, 60)
            print(*map(told, tasks))
"""


def what_became_of_three_tasks(tmp_path, how):
    script = tmp_path / "limited.py"
    script.write_text(LIMITED)
    main = f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, {str(script)!r}, {how!r}]).returncode)"
    return output("default", main)


@pytest.mark.parametrize("how", ["shut down", "dropped alone"])
def test_a_dropped_executor_runs_what_was_submitted(tmp_path, how):
    assert what_became_of_three_tasks(tmp_path, how) == ["0", "1", "2"]


def test_an_executor_whose_workers_cannot_be_started_breaks(tmp_path):
    assert what_became_of_three_tasks(tmp_path, "unreplaceable") == ["0", "BrokenExecutor", "BrokenExecutor"]


def test_nothing_is_left_when_workers_are_terminated(tmp_path):
    assert what_became_of_three_tasks(tmp_path, "terminated") == [
        "BrokenExecutor",
        "BrokenExecutor",
        "cancelled",
    ]  # the second was sent ahead


def test_what_a_worker_cannot_unpickle_fails_its_task_alone():
    code = EXECUTOR + "    say(executor, id, Bad())\n"
    assert output("default", code) == ["ValueError", "3"]
    assert output("strict", code) == ["BrokenProcessPool", "refused"]


def test_a_result_that_cannot_be_unpickled_fails_its_task_alone():
    code = EXECUTOR + "    say(executor, made)\n"
    assert output("default", code) == ["ValueError", "3"]
    assert output("strict", code) == ["BrokenProcessPool", "refused"]


def test_all_workers_start_with_the_first_task(tmp_path):
    script = tmp_path / "workers.py"
    script.write_text("""if True:
        import manyhands.multiprocessing as mp
        from manyhands import futures
        if __name__ == "__main__":
            with futures.ProcessPoolExecutor(3, mp_context=mp.get_context("spawn")) as executor:
                executor.submit(abs, -1).result(timeout=60)
                print(len(executor._processes))
            with futures.ProcessPoolExecutor(3, mp_context=mp.get_context("spawn"), min_workers=1) as executor:
                executor.submit(abs, -1).result(timeout=60)
                print(len(executor._processes))
    """)
    main = f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, {str(script)!r}]).returncode)"
    assert output("default", main) == ["3", "1"]


INTERPRETERS = """
    from manyhands import futures

    class Holder:
        def look(self):
            return 5

    def fail():
        raise KeyError("mine")

    extra = 2
    with futures.InterpreterPoolExecutor(1) as executor:
        print(executor.submit(lambda: extra + 1).result(timeout=60), executor.submit(Holder().look).result(timeout=60))
        error = executor.submit(fail).exception(timeout=60)
        print(type(error).__name__, "mine" in str(error.__cause__))
"""


@pytest.mark.skipif(sys.version_info < (3, 13), reason="from 3.13 on")
def test_interpreters_take_what_processes_take():
    pytest.importorskip("cloudpickle")
    assert output("default", INTERPRETERS) == ["3", "5", "KeyError", "True"]


def test_the_class_of_interpreter_pools_is_there():
    code = """
        import sys
        sys.modules["_interpreters"] = None
        from manyhands.futures import InterpreterPoolExecutor
        try:
            InterpreterPoolExecutor()
        except RuntimeError as error:
            print("processes" in str(error))
    """
    assert output("default", code) == ["True"]


def test_a_result_that_pickle_refuses_is_sent_by_value():
    pytest.importorskip("cloudpickle")
    code = """
        import manyhands.multiprocessing as mp
        def give():
            return lambda: 42
        if __name__ == "__main__":
            with mp.get_context("fork").Pool(1) as pool:
                try:
                    print(pool.apply(give)())
                except mp.pool.MaybeEncodingError as error:
                    print(type(error).__name__)
    """
    assert output("default", code) == ["42"]
    assert output("strict", code) == ["MaybeEncodingError"]


def test_strict_mode_works_for_who_imports_us_by_our_own_names(tmp_path):
    """Our classes say there that they live in the standard library, where nothing has put them."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
        import manyhands.multiprocessing as mp
        from manyhands.futures import ProcessPoolExecutor
        if __name__ == "__main__":
            for method in mp.get_all_start_methods():
                with ProcessPoolExecutor(1, mp_context=mp.get_context(method)) as executor:
                    print(executor.submit(abs, -3).result())
        """)
    )
    code = f"import runpy; runpy.run_path({str(program)!r}, run_name='__main__')"
    assert output("strict", code) == ["3"] * 3


def test_a_fork_server_has_no_address():
    """It takes requests from those alone who inherited its socket; from 3.14 on the standard library's has an address,
    and asks for a key there."""
    code = """
        import manyhands.multiprocessing as mp
        from manyhands.multiprocessing import _forkserver
        if __name__ == "__main__":
            process = mp.get_context("forkserver").Process(target=abs, args=(3,))
            process.start()
            process.join()
            server = _forkserver.server
            print(process.exitcode, server._forkserver_address is None, server._forkserver_authkey is None)
    """
    assert output("default", code) == ["0", "True", "True"]
    key = str(sys.version_info < (3, 14))
    assert output("strict", code) == ["0", key, key]


@pytest.mark.parametrize("name", ["threading", "queue", "multiprocessing", "concurrent.futures"])
def test_no_public_name_is_there_by_accident(name):
    ours = f"manyhands.{name.rpartition('.')[2]}"
    code = f"""
        import importlib
        std, ours = importlib.import_module({name!r}), importlib.import_module({ours!r})
        print(*(n for n in vars(ours) if not n.startswith("_") and not hasattr(std, n)))
    """
    assert not {"TYPE_CHECKING", "typing"} & set(output("default", code))

"""Functions of `__main__`, with or without a file, and lambdas under every start method; scripts without a guard."""

import subprocess
import sys

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

BODY = """
from manyhands import multiprocessing as mp

class Number:
    def __init__(self, value):
        self.value = value

def put(queue, number, more):
    queue.put(number.value + more(1))

def double(number):
    return Number(number.value * 2)

class Own(mp.get_context("METHOD").Process):
    def __init__(self, queue, more):
        super().__init__()
        self.queue, self.more = queue, more
    def run(self):
        self.queue.put(self.more(10))

def main():
    context, k = mp.get_context("METHOD"), 3
    queue = context.Queue()
    for process in (
        context.Process(target=put, args=(queue, Number(1), lambda x: x + k)),
        context.Process(target=lambda q: q.put(k), args=(queue,)),
        Own(queue, lambda x: x * k),
    ):
        process.start()
        print(queue.get(timeout=60), end=" ")
        process.join()
    with context.Pool(1) as pool:
        print(pool.map(lambda x: x * k, [1, 2]), [n.value for n in pool.map(double, [Number(1), Number(2)])])
"""


def python(*arguments, **options):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=120, **options
    )


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("way", ["script", "launcher", "code", "stdin"])
def test_functions_of_main_and_lambdas(method, way, tmp_path):
    pytest.importorskip("cloudpickle")
    code = BODY.replace("METHOD", method)
    if way in ("script", "launcher"):
        script = tmp_path / "script.py"
        script.write_text(code + '\nif __name__ == "__main__":\n    main()\n')
        launch = ["-m", "manyhands", "run"] if way == "launcher" else []
        done = python(*launch, str(script))
    elif way == "code":
        done = python("-c", code + "\nmain()")
    else:
        done = python("-", input=code + "\nmain()")
    assert done.stdout == "5 3 30 [3, 6] [2, 4]\n", done.stderr


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("start", ["mp.Process(target=print).start()", "mp.Pool(2).map(abs, [1])"])
def test_a_script_without_a_guard_is_told_what_to_add(method, start, tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from manyhands import multiprocessing as mp\n"
        f"mp.set_start_method({method!r})\n"
        "print('once more', flush=True)\n"
        f"{start}\n"
    )
    done = python(str(script))
    assert "def main():" in done.stderr and 'if __name__ == "__main__":' in done.stderr
    assert f"{script}, line 4" in done.stderr and start in done.stderr
    assert done.stdout.count("once more") < 30, "a fork bomb"


def test_without_cloudpickle_the_error_says_what_is_missing(tmp_path):
    (tmp_path / "cloudpickle.py").write_text("raise ImportError('not here')")
    code = """if True:
        import sys
        sys.path.insert(0, PATH)
        from manyhands import multiprocessing as mp
        for start in (mp.get_context("spawn").Process(target=lambda: 1).start, lambda: mp.Queue().put(lambda: 1)):
            try:
                start()
            except Exception as error:
                print("cloudpickle" in str(error) + "".join(getattr(error, "__notes__", [])))
    """
    done = python("-c", code.replace("PATH", repr(str(tmp_path))))
    assert done.stdout == "True\nTrue\n", done.stderr

"""`install()`, `uninstall()` and `manyhands run`: who is substituted, who is not, and that it can be undone."""

import os
import subprocess
import sys
import textwrap

import manyhands
import pytest

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(manyhands.__file__)))


def python(*arguments, **environment):
    """Run this interpreter with manyhands importable; returns the completed process."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MANYHANDS_INSTALLED")}
    env.update({"PYTHONPATH": PACKAGE, **environment})
    return subprocess.run([sys.executable, *arguments], env=env, capture_output=True, text=True, timeout=60)


def output(code, *prefix, **environment):
    done = python(*prefix, "-c", textwrap.dedent(code), **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_nothing_is_substituted_before_it_is_asked_for():
    names = output(
        "import manyhands, multiprocessing, queue; print(multiprocessing.__name__, queue.__name__)"
    )
    assert names == ["multiprocessing", "queue"]


def test_install_substitutes_modules_imported_before_and_after():
    names = output("""
        import multiprocessing.queues, manyhands
        manyhands.install()
        import multiprocessing, concurrent.futures
        print(multiprocessing.__name__, concurrent.futures.__name__, manyhands.installed())
        from concurrent import futures
        print(futures.__name__)
    """)
    assert names == ["manyhands.multiprocessing", "manyhands.futures", "True", "manyhands.futures"]


def test_uninstall_gives_everything_back():
    names = output("""
        import os, sys, multiprocessing as before, manyhands
        path, environ = list(sys.meta_path), dict(os.environ)
        manyhands.install(); manyhands.install()
        import concurrent.futures, multiprocessing.pool
        manyhands.uninstall(); manyhands.uninstall()
        import multiprocessing, concurrent.futures
        print(multiprocessing is before, concurrent.futures.__name__, manyhands.installed())
        environ.pop("MANYHANDS_NO_CORE", None); os.environ.pop("MANYHANDS_NO_CORE", None)
        print(sys.meta_path == path, dict(os.environ) == environ)
    """)
    assert names == ["True", "concurrent.futures", "False", "True", "True"]


@pytest.mark.parametrize("flag, expected", [([], "manyhands.multiprocessing"), (["-I"], "multiprocessing")])
def test_python_children_are_reached_but_for_isolated_ones(flag, expected):
    code = f"""
        import subprocess, sys
        child = "import multiprocessing; print(multiprocessing.__name__)"
        subprocess.run([sys.executable, *{flag!r}, "-c", child], check=True)
    """
    assert output(code, "-m", "manyhands", "run") == [expected]


def test_a_child_finds_the_package_where_its_own_path_does_not():
    code = """
        import os, subprocess, sys
        paths = os.environ["PYTHONPATH"].split(os.pathsep)
        os.environ["PYTHONPATH"] = paths[0]
        subprocess.run([sys.executable, "-c", "import queue, multiprocessing as m; print(m.__name__)"], check=True)
    """
    assert output(code, "-m", "manyhands", "run") == ["manyhands.multiprocessing"]


def test_the_users_own_sitecustomize_still_runs(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("print('hello from sitecustomize')\n")
    code = (
        "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import sitecustomize'], check=True)"
    )
    done = python("-m", "manyhands", "run", "-c", code, PYTHONPATH=os.pathsep.join([PACKAGE, str(tmp_path)]))
    assert done.stdout.count("hello from sitecustomize") == 2 and not done.stderr, done


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_every_start_method_are_substituted(tmp_path, method):
    script = tmp_path / "app.py"
    script.write_text(
        textwrap.dedent("""
        import multiprocessing, sys
        def name(_):
            import multiprocessing
            return multiprocessing.__name__
        if __name__ == "__main__":
            with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:
                print(pool.map(name, [0])[0])
    """)
    )
    done = python("-m", "manyhands", "run", str(script), method)
    assert done.stdout.split() == ["manyhands.multiprocessing"], done


def test_run_gives_a_script_what_the_interpreter_would(tmp_path):
    script = tmp_path / "app.py"
    script.write_text(
        "import sys, __main__\nprint(__name__, __file__, sys.argv[1:], sys.path[0])\n"
        "print(__main__.__dict__ is globals())\n"
    )
    done = python("-m", "manyhands", "run", str(script), "-x", "--help")
    plain = python(str(script), "-x", "--help")
    assert done.stdout == plain.stdout and done.returncode == 0


def test_run_a_module(tmp_path):
    done = python("-m", "manyhands", "run", "-m", "json.tool", "--help")
    assert done.returncode == 0 and "usage" in done.stdout


def test_run_passes_exit_status_and_exceptions_on(tmp_path):
    assert python("-m", "manyhands", "run", "-c", "raise SystemExit(7)").returncode == 7
    done = python("-m", "manyhands", "run", "-c", "1/0")
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr and "manyhands" not in done.stderr, (
        done.stderr
    )


@pytest.mark.parametrize(
    "arguments, word",
    [
        (["run"], "nothing to run"),
        (["run", "-m"], "nothing to run"),
        (["run", "/no/such.py"], "can't open file"),
        (["nonsense"], "invalid choice"),
        ([], ""),
    ],
)
def test_wrong_calls_exit_with_2(arguments, word):
    done = python("-m", "manyhands", *arguments)
    assert done.returncode == 2 and word in done.stderr


def test_two_threads_that_install_and_import_at_once_see_one_module():
    names = output("""
        import _thread, sys, time, manyhands
        done = []
        def work():
            manyhands.install()
            import multiprocessing.pool
            done.append(multiprocessing)
        for _ in range(8): _thread.start_new_thread(work, ())
        while len(done) < 8: time.sleep(0.01)
        print(len(set(map(id, done))), done[0].__name__)
    """)
    assert names == ["1", "manyhands.multiprocessing"]


ONCE = """
import collections, gc, importlib, types
importlib.import_module({first!r})
for name in ("manyhands.futures._process", "manyhands.multiprocessing._sharedctypes", "multiprocessing.pool", "queue"):
    importlib.import_module(name)
modules = [m for m in gc.get_objects() if isinstance(m, types.ModuleType) and getattr(m, "__file__", None)]
files = [m.__file__ for m in modules if "multiprocessing" in m.__file__ or "concurrent" in m.__file__]
loaded = collections.Counter(files)
print([file for file, count in loaded.items() if count > 1])
"""


@pytest.mark.parametrize(
    "first",
    ["multiprocessing", "concurrent.futures", "manyhands.futures", "manyhands.multiprocessing"]
    + ["manyhands._impl.by_value"] * manyhands.compiled(),
)
def test_no_module_of_the_standard_library_is_loaded_twice(first, tmp_path):
    """There would be two of each of its classes, and what is registered with one would not be with the other."""
    program = tmp_path / "program.py"
    program.write_text(ONCE.format(first=first))
    done = subprocess.run(
        [sys.executable, "-m", "manyhands", "run", program], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "[]\n", done.stdout + done.stderr

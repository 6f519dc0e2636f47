"""Inside the tested interpreter: list or run the tests that a job file names; events go out as JSON lines."""

import collections
import json
import os
import sys
import time

ROOT_NAMES = ("threading", "queue", "multiprocessing", "concurrent.futures")


def _flatten(suite):
    import unittest

    for t in suite:
        if isinstance(t, unittest.BaseTestSuite):
            yield from _flatten(t)
        else:
            yield t


def _expand(name):
    """A borrowed package's load_tests would look for it in the stdlib; take
    its modules one by one."""
    import importlib

    try:
        module = importlib.import_module(name)
    except Exception:
        return [name]  # unittest's loader makes a failing test of it
    folder = os.path.dirname(os.path.abspath(module.__file__ or ""))
    if not hasattr(module, "__path__") or folder.startswith(os.path.dirname(os.__file__) + os.sep):
        return [name]
    return [
        f"{name}.{f[:-3]}" for f in sorted(os.listdir(folder)) if f.startswith("test_") and f.endswith(".py")
    ]


class Events:
    """Writes what happens to a file, one JSON object a line, and from the worker itself only."""

    def __init__(self, path):
        self.path, self.pid = path, os.getpid()

    def __call__(self, **event):
        if os.getpid() != self.pid:
            return  # a forked child that came back here
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(fd, (json.dumps(event) + "\n").encode())
        finally:
            os.close(fd)


def stand_in(kind, part, error):
    """A test that says why the module `part` could not be loaded."""
    import unittest

    def failing():
        raise error

    test = unittest.FunctionTestCase(failing)
    test.id = lambda: f"unittest.loader.{kind}.{part}"
    return test


def load(modules):
    """The tests of the modules, each with an id of its own."""
    import unittest

    loader = unittest.TestLoader()
    tests = []
    for name in modules:
        for part in _expand(name):
            try:
                tests.extend(_flatten(loader.loadTestsFromName(part)))
            except unittest.SkipTest as error:
                tests.append(stand_in("ModuleSkipped", part, error))
            except Exception as error:  # the loader itself copes with ImportError
                tests.append(stand_in("_FailedTest", part, error))
    # Two tests may have the same id (doctests): the later ones are numbered.
    seen = collections.Counter()
    for test in tests:
        base = test.id()
        seen[base] += 1
        test._conformance_id = base if seen[base] == 1 else f"{base}#{seen[base]}"
    return tests


def tell_tests(tests, modules, emit):
    for test in tests:
        # Not having the whole module is another thing than failing in it.
        error = getattr(test, "_exception", None)
        absent = isinstance(error, ImportError) and any(
            f"No module named '{name}'" in str(error) for name in modules
        )
        group = f"{type(test).__module__}.{type(test).__qualname__}"
        emit(e="listed", id=test._conformance_id, group=group, absent=absent)
    emit(e="done")


def tell_substitution(emit):
    """Evidence: which modules do the loaded test modules really hold?"""
    for name, module in sorted(sys.modules.items()):
        if not name.startswith("test.") or module is None:
            continue
        held = {}
        for key, value in list(vars(module).items()):
            own = getattr(value, "__name__", None)
            if isinstance(value, type(sys)) and any(
                sys.modules.get(root) is value or root == own for root in ROOT_NAMES
            ):
                held[key] = own
        if held:
            emit(e="probe", module=name, held=held)
    loaded = {name: sys.modules[name] for name in ROOT_NAMES if name in sys.modules}
    held = {name: f"{m.__name__} ({getattr(m, '__file__', 'built in')})" for name, m in loaded.items()}
    emit(e="probe", module="sys.modules", held=held)


def result_class(emit):
    """A unittest.TestResult that tells each test's start and end."""
    import unittest

    class Result(unittest.TestResult):
        status, detail, started = None, "", time.monotonic()

        def startTest(self, test):
            super().startTest(test)
            self.status, self.detail, self.started = "pass", "", time.monotonic()
            emit(e="start", id=test._conformance_id)

        def stopTest(self, test):
            secs = round(time.monotonic() - self.started, 3)
            emit(e="end", id=test._conformance_id, status=self.status, detail=self.detail, secs=secs)
            self.status = None
            super().stopTest(test)

        def _mark(self, test, status, detail):
            if not hasattr(test, "_conformance_id"):
                # setUpClass, setUpModule, tearDown...: not a test of its own
                emit(e="fixture", id=test.id(), status=status, detail=detail)
            elif status != "skip" or self.status in ("pass", None):
                # None: 3.12.1 does not call startTest for a skipped test
                self.status, self.detail = status, detail

        def addError(self, test, err):
            super().addError(test, err)
            self._mark(test, "error", self._exc_info_to_string(err, test))

        def addFailure(self, test, err):
            super().addFailure(test, err)
            self._mark(test, "fail", self._exc_info_to_string(err, test))

        def addSkip(self, test, reason):
            super().addSkip(test, reason)
            self._mark(test, "skip", reason)

        def addUnexpectedSuccess(self, test):
            super().addUnexpectedSuccess(test)
            self._mark(test, "fail", "unexpected success")

        def addSubTest(self, test, subtest, err):
            super().addSubTest(test, subtest, err)
            if err is not None:
                kind = "fail" if issubclass(err[0], test.failureException) else "error"
                self._mark(test, kind, f"{subtest}: {self._exc_info_to_string(err, test)}")

    return Result


def main(job_file):
    """Do what the job file says."""
    import faulthandler
    import resource
    import unittest

    with open(job_file) as file:
        job = json.load(file)
    emit = Events(job["events"])
    # The runner ends a hung test with SIGABRT: dump every thread, then die.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable(all_threads=True)
    sys.argv = ["conformance_worker"]
    tests = load(job["modules"])
    if job["list"]:
        tell_tests(tests, job["modules"], emit)
        return
    wanted = set(job["ids"])
    tell_substitution(emit)
    unittest.TestSuite([test for test in tests if test._conformance_id in wanted]).run(result_class(emit)())
    support = sys.modules.get("test.support")
    emit(e="done", env_altered=bool(getattr(support, "environment_altered", False)))

"""Other libraries beside us, under `python -m manyhands run`: what docs/howto/what-mixes.md says."""

import subprocess
import sys

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

JOBLIB = """
import math, os, sys
from joblib import Parallel, delayed

def who(number):
    return os.getpid(), sys.modules["multiprocessing"].__name__, math.sqrt(number)

if __name__ == "__main__":
    import multiprocessing
    from joblib.externals.loky import ProcessPoolExecutor

    for backend in ("loky", "multiprocessing"):
        results = Parallel(n_jobs=2, backend=backend)(delayed(who)(n * n) for n in range(20))
        assert [value for _, _, value in results] == list(range(20)), results
        assert {name for _, name, _ in results} == {"manyhands.multiprocessing"}, results
        assert os.getpid() not in {pid for pid, _, _ in results}
    assert Parallel(n_jobs=2)(delayed(lambda text: len(text))("x" * 300_000) for _ in range(3)) == [300_000] * 3
    try:
        Parallel(n_jobs=2)(delayed(math.sqrt)(n) for n in (1, -1))
    except ValueError:
        print("told")
    for method in ("spawn", "fork"):
        with ProcessPoolExecutor(2, context=multiprocessing.get_context(method)) as executor:
            assert list(executor.map(abs, [-1, -2, -3])) == [1, 2, 3]
    print("works")
"""


def test_joblib_with_processes(tmp_path):
    pytest.importorskip("joblib")
    script = tmp_path / "job.py"
    script.write_text(JOBLIB)
    done = subprocess.run(
        [sys.executable, "-m", "manyhands", "run", str(script)], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["told", "works"], done.stderr
    assert "leaked" not in done.stderr, done.stderr

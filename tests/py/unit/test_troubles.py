"""The codes of errors: each leads to a text, and each message that is listed is in the sources."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
import traceback
from pathlib import Path

import manyhands
import pytest
from manyhands import Cancelled, DeadlockError, OwnerDiedError, RemoteError
from manyhands._troubles import TROUBLES, coded, found_in, note
from manyhands.cli import main

ROOT = Path(__file__).resolve().parents[3]
CODES = [one.code for one in TROUBLES]
CLASSES = [OwnerDiedError, Cancelled, DeadlockError]


def test_the_guide_has_the_same_texts() -> None:
    sys.path.insert(0, str(ROOT / "tools" / "docs"))
    import troubles

    page = troubles.PAGE.read_text()
    assert page == troubles.filled(page), "run tools/docs/troubles.py"
    assert re.findall(r"^### (MH-[A-Z-]+)$", page, re.M) == CODES


def test_each_message_is_in_the_sources() -> None:
    files = [*(ROOT / "python").rglob("*.py"), *(ROOT / "ext").glob("*.c")]
    sources = " ".join(path.read_text() for path in files if path.name != "_troubles.py")
    joined = re.sub(r"\s+", " ", re.sub(r'"\s*\n\s*f?"', "", sources))  # a text in parts is one text
    for one in TROUBLES:
        for piece in one.pieces:
            assert piece in joined, (one.code, piece)


def test_each_code_is_used_once_and_known() -> None:
    assert len(set(CODES)) == len(CODES)
    sources = "".join(
        path.read_text() for path in (ROOT / "python").rglob("*.py") if path.name != "_troubles.py"
    )
    assert set(re.findall(r'"(MH-[A-Z-]+)"', sources)) <= set(CODES)


@pytest.mark.parametrize("cls", CLASSES)
def test_a_traceback_ends_with_the_code(cls: type[Exception]) -> None:
    error = cls("told")
    lines = "".join(traceback.format_exception(error)).splitlines()
    assert lines[-1] == note(cls.code) and "told" in lines[-2]  # type: ignore[attr-defined]
    error.add_note("and more")
    assert error.__notes__ == [note(cls.code), "and more"]  # type: ignore[attr-defined]
    assert not hasattr(cls, "__notes__") and cls("another").__notes__ == [note(cls.code)]  # type: ignore[attr-defined]
    again = pickle.loads(pickle.dumps(error))
    assert again.__notes__ == error.__notes__ and str(again) == str(error)


def test_what_stands_for_an_error_of_the_user_has_no_code() -> None:
    error = RemoteError("Awkward", "told")
    assert not hasattr(error, "__notes__")
    error.add_note("the user's")
    assert error.__notes__ == ["the user's"]


@pytest.mark.skipif(not manyhands.compiled(), reason="needs the compiled core")
def test_errors_that_happen_have_their_codes() -> None:
    import threading

    from manyhands import multiprocessing
    from manyhands.threading import current_thread

    assert current_thread() is threading.main_thread()
    with pytest.raises(RuntimeError) as caught:
        current_thread().terminate()
    assert caught.value.__notes__ == [note("MH-MAIN-THREAD")]
    lock = multiprocessing.Lock()
    process = multiprocessing.get_context("fork").Process(target=lock.acquire)
    process.start()
    process.join()
    with pytest.raises(OwnerDiedError) as died:
        lock.acquire()
    assert died.value.__notes__ == [note("MH-OWNER-DIED")]


def test_found_by_code_and_by_message() -> None:
    assert [one.code for one in found_in("... mh-queue-limit: ...")] == ["MH-QUEUE-LIMIT"]
    assert [one.code for one in found_in("OSError: [Errno 28] /dev/shm has room for\n  10 bytes")] == [
        "MH-SHARED-MEMORY"
    ]
    assert found_in("ValueError: no more eggs") == []
    plain = coded(ValueError("told"), "MH-CORE")
    assert str(plain) == "told" and plain.__notes__ == [note("MH-CORE")]


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "MH-GUARD"]) == 0
    assert capsys.readouterr().out.startswith("MH-GUARD: A child imports the script")
    assert main(["explain", "the queue has reached its limit of bytes: nobody takes what is put"]) == 0
    assert capsys.readouterr().out.startswith("MH-QUEUE-LIMIT")
    assert main(["explain", "nothing of ours"]) == 1
    script = "import manyhands; raise manyhands.Cancelled('told')"
    failed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert failed.stderr.splitlines()[-1] == note("MH-CANCELLED")
    command = [sys.executable, "-m", "manyhands", "explain"]
    done = subprocess.run(command, input=failed.stderr, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.startswith("MH-CANCELLED")

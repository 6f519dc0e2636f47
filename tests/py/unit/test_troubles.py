"""The codes of errors: each leads to a text, and each message that is listed is in the sources."""

from __future__ import annotations

import ast
import pickle
import re
import subprocess
import sys
import sysconfig
import traceback
from pathlib import Path

import manyhands
import pytest
from manyhands import Cancelled, DeadlockError, OwnerDiedError, RemoteError, SegmentError
from manyhands._trouble_table import TROUBLES, found_in
from manyhands._troubles import coded, note
from manyhands.cli import main

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools" / "docs"))
import messages  # noqa: E402

CODES = [one.code for one in TROUBLES]
CLASSES = [OwnerDiedError, Cancelled, DeadlockError, SegmentError]
OF_CLASSES = ["of EXT_OWNER_DIED", "of EXT_CANCELLED"]  # as C names classes that have a code


def test_the_guide_has_the_same_texts() -> None:
    import troubles

    page = troubles.PAGE.read_text()
    assert page == troubles.filled(page), "run tools/docs/troubles.py"
    assert re.findall(r"^### (MH-[A-Z-]+)$", page, re.M) == CODES


def test_each_message_is_in_the_sources() -> None:
    files = [*(ROOT / "python").rglob("*.py"), *(ROOT / "ext").glob("*.c")]
    sources = " ".join(path.read_text() for path in files if path.name != "_trouble_table.py")
    joined = re.sub(r"\s+", " ", re.sub(r'"\s*\n\s*f?"', "", sources))  # a text in parts is one text
    for one in TROUBLES:
        for piece in one.pieces:
            assert piece in joined, (one.code, piece)


def test_each_code_is_used_once_and_known() -> None:
    assert len(set(CODES)) == len(CODES)
    sources = "".join(
        path.read_text() for path in (ROOT / "python").rglob("*.py") if path.name != "_trouble_table.py"
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


# ---- every message has a code, or a reason not to


def exempt() -> list[tuple[str, str, str]]:
    """WHERE, REASON, MESSAGE of each line."""
    lines = (Path(__file__).parent / "messages_without_code.txt").read_text().splitlines()
    return [tuple(line.split(" ", 2)) for line in lines if line and not line.startswith("#")]  # type: ignore[misc]


def stands_for(where: str, text: str, one: messages.Message) -> bool:
    return one.text == text and where in ("*", one.place.rpartition(":")[0])


def test_every_message_has_a_code_or_a_reason_not_to() -> None:
    found = messages.all_messages()
    coded_ones = [one for one in found if one.code is not None]
    assert len(coded_ones) > 150  # of Python and of C
    assert {one.place.partition("/")[0] for one in coded_ones} == {"python", "ext"}
    unknown = [one for one in coded_ones if one.code not in CODES and one.code not in OF_CLASSES]
    assert not unknown, unknown
    bare = [one for one in found if one.code is None]
    lost = [one for one in bare if not any(stands_for(where, text, one) for where, _, text in exempt())]
    assert not lost, (
        f"give them a code (coded(), ext_refuse()) or a line in messages_without_code.txt: {lost}"
    )
    idle = [line for line in exempt() if not any(stands_for(line[0], line[2], one) for one in bare)]
    assert not idle, f"no such message any more: {idle}"


def test_what_is_said_to_be_the_standard_librarys_is() -> None:
    library = Path(sysconfig.get_paths()["stdlib"])
    folders = [library, library / "multiprocessing", library / "concurrent" / "futures"]
    sources = b"".join(
        path.read_bytes() for folder in folders for path in folder.glob("*.py") if path.exists()
    )
    sources = re.sub(rb"""["']\s*\n\s*f?["']""", b"", sources)  # a text in parts is one text
    names = [Path(sys.executable).resolve(), *library.glob("lib-dynload/*.so")]
    names += Path(sysconfig.get_config_var("LIBDIR") or "/nowhere").glob("libpython*.so*")
    built = b"".join(path.read_bytes() for path in names)
    for _, reason, text in exempt():
        word, *versions = reason.split("-")
        since, until = [
            tuple(map(int, version.split("."))) for version in [*versions, *["3.11", "3.99"][len(versions) :]]
        ]
        if word != "stdlib" or not since <= sys.version_info[:2] <= until:
            continue
        for piece in filter(None, (part.strip() for part in text.split("{}"))):
            assert piece.encode() in sources or piece.encode() in built, text


def test_a_raise_without_a_code_is_found(tmp_path: Path) -> None:
    text = 'def f(x):\n    raise ValueError(f"no {x} left")\n\n\nraise coded(ValueError("none"), "MH-X")\n'
    tree = ast.parse(text)
    found = list(messages.of_python(messages.PACKAGE / "f.py", tree, {"ValueError"}, {}))
    assert [(one.text, one.code) for one in found] == [("no {} left", None), ("none", "MH-X")]
    source = messages.EXTENSION / "f.c"
    body = (
        '{ PyErr_Format(PyExc_ValueError, "no %zd (or %d), left", a, b);\n ext_refuse(x, "MH-X", "a" "b"); }'
    )
    assert [(one.text, one.code) for one in messages.in_c(source, body)] == [
        ("no {} (or {}), left", None),
        ("ab", "MH-X"),
    ]


def test_codes_of_errors_raised_in_c() -> None:
    if not manyhands.compiled():
        pytest.skip("needs the compiled core")
    from manyhands import shared, threading

    lock = threading.RWLock()
    with pytest.raises(RuntimeError, match="not held for writing") as caught:
        lock.release_write()
    assert caught.value.__notes__ == [note("MH-NOT-HELD")]
    with lock.write, pytest.raises(RuntimeError, match="not recursive") as again:
        lock.acquire_write()
    assert again.value.__notes__ == [note("MH-RWLOCK")]
    with pytest.raises(ValueError, match="a block of -1 bytes") as negative:
        shared.block(-1)
    assert negative.value.__notes__ == [note("MH-ARGUMENT")]

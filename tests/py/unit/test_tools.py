"""The checkers of tools/ see what they are there to see: each is shown a violation, and what is none."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).resolve().parents[3] / "tools"


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch):
    """Import a script of tools/ by its name."""
    monkeypatch.syspath_prepend(str(TOOLS))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


def tree(root: Path, **texts: str) -> Path:
    """Files named like core__os__futex_c."""
    for name, text in texts.items():
        path = root / (name.replace("__", "/").rpartition("_")[0] + "." + name.rpartition("_")[2])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


# ---- source


def test_comments_and_strings_are_blank_and_lines_stay(tool):
    text = 'int a; /* { \n } */ char *b = "/* no \\" comment";\n// }\nint c;'
    stripped = tool("source").strip_c(text)
    assert stripped.count("\n") == text.count("\n")
    assert "{" not in stripped and "}" not in stripped and "comment" not in stripped
    assert "int c;" in stripped


def test_functions_are_found_with_their_lines(tool):
    text = (
        "#define BLOCK(x) { x; }\n"
        "struct s {\n    int a;\n};\n"
        "static int\nfirst(int a)\n{\n    if (a) {\n        return 1;\n    }\n    return 0;\n}\n"
        "int table[] = {1, 2};\n\n"
        "void second(void) { }\n"
    )
    found = [(function.name, function.line, function.length) for function in tool("source").c_functions(text)]
    assert found == [("first", 5, 8), ("second", 15, 1)]


# ---- layers


def layer_findings(tool, root: Path) -> list[str]:
    check = tool("check_layers")
    return [str(finding) for finding in [*check.check_c(root), *check.check_python(root)]]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"core__shm__ring_h": "", "core__sync__lock_c": '#include "core/shm/ring.h"\n'},
            "calls go down only",
        ),
        ({"core__shm__ring_h": "", "core__sync__lock_c": '#include "../shm/ring.h"\n'}, "calls go down only"),
        (
            {"include__manyhands__channel_h": "", "core__sync__lock_c": '#include "manyhands/channel.h"\n'},
            "down only",
        ),
        (
            {"include__manyhands__arena_h": "", "include__manyhands__lock_h": '#include "arena.h"\n'},
            "down only",
        ),
        (
            {"core__os__os_h": "", "include__manyhands__lock_h": '#include "core/os/os.h"\n'},
            "may not include a private",
        ),
        ({"core__os__os_h": "", "ext__lock_c": '#include "core/os/os.h"\n'}, "public headers only"),
        ({"ext__common_h": "", "core__os__a_c": '#include "ext/common.h"\n'}, "does not know the extension"),
        ({"core__sync__lock_c": "#include <linux/futex.h>\n"}, "only core/os/"),
        ({"core__proc__a_c": "#include <pthread.h>\n"}, "only core/os/"),
        ({"ext__a_c": "#include <sys/mman.h>\n"}, "only core/os/"),
        ({"include__manyhands__a_h": "#include <Python.h>\n"}, "only core/os/"),
        ({"core__sync__lock_c": "#ifdef __linux__\n#endif\n"}, "condition on the operating system"),
        ({"core__sync__lock_c": "long f(void) { return syscall(202); }\n"}, "syscall()"),
        ({"python__manyhands__queue_py": "from manyhands import _core\n"}, "only manyhands._impl"),
        ({"python__manyhands__queue_py": "def f():\n    import manyhands._core\n"}, "only manyhands._impl"),
        ({"python__manyhands__queue_py": "from ._core import Lock\n"}, "only manyhands._impl"),
    ],
)
def test_a_broken_layer_is_found(tool, tmp_path, files, expected):
    findings = layer_findings(tool, tree(tmp_path, **files))
    assert len(findings) == 1 and expected in findings[0], findings


def test_what_the_layers_allow(tool, tmp_path):
    root = tree(
        tmp_path,
        core__os__os_h="#include <sys/types.h>\n",
        core__os__futex_c='#include "os.h"\n#include <linux/futex.h>\n#ifdef __linux__\n#endif\n'
        "int f(void) { return syscall(1); }\n",
        core__sync__lock_c='#include "core/os/os.h"\n#include "manyhands/lock.h"\n#include <string.h>\n'
        "/* #include <linux/x.h> */\n",
        core__shm__ring_c='#include "manyhands/lock.h"\n',
        include__manyhands__lock_h="#include <stdint.h>\n",
        include__manyhands__channel_h='#include "lock.h"\n',
        ext__lock_c='#include "common.h"\n#include "manyhands/channel.h"\n',
        ext__common_h="#include <Python.h>\n",
    )
    (root / "python/manyhands/_impl").mkdir(parents=True)
    (root / "python/manyhands/_impl/lock.py").write_text("from manyhands import _core\n")
    assert layer_findings(tool, root) == []


# ---- contracts

SAFETY = " * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | {} | allocs: none | death: told\n"


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("", "no Safety: line"),
        ("/* What it does.\n */\n", "no Safety: line"),
        ("/* What it does.\n" + SAFETY.format("never waits") + " */\n\n", "no Safety: line"),
        ("/*\n" + SAFETY.format("waits") + " */\n", "cancellation"),
        ("/* Safety: MT-safe AS-safe FORK-safe | never waits | allocs: none | death: told */\n", "'PROC-'"),
        ("/* Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | allocs: none */\n", "'death:'"),
    ],
)
def test_a_missing_contract_is_found(tool, comment, expected):
    text = f"#define X 1\n\n{comment}MH_API int mh_lock_acquire(int a,\n        int b);\n"
    findings = list(tool("check_contracts").check_header("lock.h", text))
    assert len(findings) == 1 and expected in findings[0].text, findings
    assert findings[0].text.startswith("mh_lock_acquire: ")


def test_a_contract_covers_its_group(tool):
    text = (
        "/* Two of a kind.\n *\n" + SAFETY.format("waits | cancellation: yes") + " */\n"
        "MH_API int mh_a(void);\n/* the other */\nMH_API int mh_b(void);\n"
    )
    assert list(tool("check_contracts").check_header("a.h", text)) == []


def test_headers_and_exports_must_agree(tool, tmp_path):
    check = tool("check_contracts")
    tree(
        tmp_path,
        include__manyhands__a_h="MH_API int mh_a(void);\n/* MH_API int mh_no(void); */\n"
        "MH_API extern int mh_b;\n",
    )
    declared = check.declared_names(tmp_path)
    assert set(declared) == {"mh_a", "mh_b"}
    findings = [finding.text for finding in check.check_exports(declared, {"mh_b", "mh__c"}, "lib")]
    assert findings == [
        "mh_a is declared, but lib does not export it",
        "mh__c is exported, but no header declares it",
    ]


def test_exported_names_are_read_from_a_library(tool, tmp_path):
    source = tmp_path / "a.c"
    source.write_text(
        'int mh_seen; __attribute__((visibility("hidden"))) int mh_hidden; int mh_do(void) { return 1; }\n'
    )
    library = tmp_path / "liba.so"
    subprocess.run(
        [os.environ.get("CC", "cc"), "-shared", "-fPIC", source, "-o", library], check=True, timeout=60
    )
    assert {"mh_seen", "mh_do"} == {
        name for name in tool("check_contracts").exported_names(library) if name[:2] == "mh"
    }


# ---- capi


@pytest.mark.parametrize(
    "line",
    [
        "    PyThreadState *t = _PyThreadState_Prealloc();",
        "    int held = PyGILState_Check();",
        "static PyObject *cache;",
        "static PyObject *cache = NULL;",
        "    static PyTypeObject *type = NULL;",
        "static PyTypeObject lock_type = {0};",
        "#define Py_BUILD_CORE 1",
        '#include "internal/pycore_frame.h"',
    ],
)
def test_a_private_or_shared_use_of_the_c_api_is_found(tool, line):
    assert len(list(tool("check_capi").check_text("ext/a.c", line + "\n"))) == 1


def test_the_public_c_api_is_fine(tool):
    text = (
        "/* not PyGILState_Ensure(), not _Py_Dealloc */\n"
        "static PyObject *lock_acquire(PyObject *self, PyObject *a)\n{\n"
        '    PyErr_SetString(PyExc_ValueError, "_PyNo");\n    return NULL;\n}\n'
        "static PyMethodDef methods[] = {{0}};\n"
    )
    assert list(tool("check_capi").check_text("ext/a.c", text)) == []


# ---- sizes


def test_sizes_are_measured(tool):
    check = tool("check_sizes")
    c_text = "int f(void)\n{\n" + "    g();\n" * 58 + "}\n"
    assert [size for size, _, _ in check.oversize("a.c", c_text)] == [61]
    assert list(check.oversize("a.c", c_text.replace("    g();\n", "", 1))) == []
    py_text = "def f():\n" + "    g()\n" * 100
    assert [(size, limit) for size, limit, _ in check.oversize("a.py", py_text)] == [(101, 100)]
    assert [(size, limit) for size, limit, _ in check.oversize("a.py", "x = 1\n" * 901)] == [(901, 900)]


def test_a_function_that_is_too_long_fails(tool, tmp_path, capfd):
    tree(tmp_path, core__a_c="int f(void)\n{\n" + "    g();\n" * 98 + "}\n")
    assert tool("check_sizes").main(tmp_path) == 1
    assert "core/a.c:1: f: 101 lines" in capfd.readouterr().err


# ---- memory order


def test_a_release_says_what_it_pairs_with(tool):
    check = tool("check_order")
    silent = "void f(void)\n{\n    mh_store_rel(&a, 1);\n}\n" + "\n" * 7
    said = "    mh_cas_rel(&a, &b, 1); /* pairs with g() */\n" + "\n" * 7
    step = "    mh_store_step(&a, 1); /* repairs nothing */\n"
    assert [(found.path, found.line) for found in check.unexplained("core/a.c", silent + said + step)] == [
        ("core/a.c", 3)
    ]
    assert check.main() == 0


# ---- package and requirements


def test_the_package_list_holds_sources_and_no_caches(tool, tmp_path):
    package = tmp_path / "manyhands"
    for name in (
        "__init__.py",
        "_core.pyi",
        "py.typed",
        "cli/page.html",
        "cli/__pycache__/a.pyc",
        "_core.cpython-311.so",
    ):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("")
    found = tool("list_package").package_files(tmp_path)
    assert found == [
        "manyhands/__init__.py",
        "manyhands/_core.pyi",
        "manyhands/cli/page.html",
        "manyhands/py.typed",
    ]


def test_links_follow_the_source_tree(tool, tmp_path):
    link = tool("link_package").link_package
    package, build = tmp_path / "python" / "manyhands", tmp_path / "build"
    package.mkdir(parents=True)
    (build / "ext").mkdir(parents=True)
    (build / "ext" / "_core.abi.so").write_text("core")
    (package / "a.py").write_text("a")
    (package / "b.py").write_text("b")
    link(tmp_path / "python", build)
    (package / "b.py").unlink()
    (package / "c.py").write_text("c")
    link(tmp_path / "python", build)
    site = build / "site" / "manyhands"
    assert {entry.name: entry.read_text() for entry in site.iterdir()} == {
        "a.py": "a",
        "c.py": "c",
        "_core.abi.so": "core",
    }


def test_requirements_follow_extras(tool):
    project = {
        "build-system": {"requires": ["meson"]},
        "project": {
            "dependencies": ["cloudpickle"],
            "optional-dependencies": {"a": ["x", "y"], "b": ["y", "z"], "all": ["manyhands[a,b]"]},
        },
    }
    requirements = tool("requirements").requirements
    assert requirements(project, "all") == ["x", "y", "z"]
    assert requirements(project, "base") == ["cloudpickle"]
    assert requirements(project, "build") == ["meson"]
    with pytest.raises(KeyError):
        requirements(project, "none")


def test_the_c_rows_of_the_benchmarks_are_run_and_read(tmp_path):
    out = tmp_path / "rows.json"
    command = [
        sys.executable,
        "-m",
        "bench",
        "--only",
        "c/lock",
        "--only",
        "c/sem",
        "--pairs",
        "3",
        "--json",
        out,
    ]
    done = subprocess.run(command, cwd=TOOLS.parent, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(out.read_text())}
    assert set(rows) == {"c/lock", "c/sem"}
    assert rows["c/lock"]["peer"] == "pthread_mutex"
    assert all(row["ratio_low"] <= row["ratio"] <= row["ratio_high"] for row in rows.values())

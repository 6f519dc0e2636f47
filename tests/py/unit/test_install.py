"""What a user gets: `meson install` for C and C++, a wheel for Python; both built into empty folders."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PROGRAM = """\
#include <manyhands/manyhands.h>
#include <stdio.h>
#include <string.h>

struct cook {
    mh_thread thread; /* ours first */
    mh_lock *lock;
    int *meals;
};

static int cook_run(mh_thread *self)
{
    struct cook *cook = (struct cook *) self;
    for (int i = 0; i < 1000; i++) {
        if (mh_lock_acquire(cook->lock, mh_in_ms(10000), NULL) < 0) {
            return 1;
        }
        ++*cook->meals;
        mh_lock_release(cook->lock);
    }
    return 0;
}

int main(void)
{
    static mh_lock lock;
    static struct cook cooks[2];
    int meals = 0;
    for (int i = 0; i < 2; i++) {
        cooks[i].thread.run = cook_run;
        cooks[i].lock = &lock;
        cooks[i].meals = &meals;
        if (mh_thread_start(&cooks[i].thread) != 0) {
            return 2;
        }
    }
    for (int i = 0; i < 2; i++) {
        int code = -1;
        if (mh_thread_join(&cooks[i].thread, mh_in_ms(10000), NULL) != 0 ||
            mh_thread_exit_code(&cooks[i].thread, &code) != 0 || code != 0) {
            return 3;
        }
    }
    printf("%s %d\\n", mh_version(), meals);
    return strcmp(mh_version(), MH_VERSION) != 0;
}
"""


def run(*command: object, **options: object) -> str:
    """Standard output; where it fails, the error shows all that was printed."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=240, **options
    )  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


def compiler(*names: str | None) -> str:
    for name in names:
        if name and shutil.which(name.split()[0]):
            return name
    pytest.skip(f"none of {', '.join(filter(None, names))} is on this machine")


def tool(name: str) -> str:
    """meson and ninja of the environment that runs the tests, or of the system."""
    beside = Path(sys.prefix) / "bin" / name
    return str(beside) if beside.exists() else compiler(name)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, built with its default options and installed into an empty folder."""
    root = Path(__file__).resolve().parents[3]
    prefix, build = tmp_path_factory.mktemp("prefix"), tmp_path_factory.mktemp("build")
    environment = os.environ | {"NINJA": tool("ninja")}
    options = ["--prefix", prefix, "--libdir", "lib", "-Dtests=false", "--buildtype", "release"]
    run(tool("meson"), "setup", build, root, *options, env=environment)
    run(tool("meson"), "install", "-C", build, env=environment)
    return prefix


def pkg_config(prefix: Path, *words: str) -> list[str]:
    environment = os.environ | {"PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig")}
    return run(compiler("pkg-config", "pkgconf"), *words, "manyhands", env=environment).split()


def test_a_c_program_needs_only_pkg_config(prefix: Path, tmp_path: Path) -> None:
    (tmp_path / "kitchen.c").write_text(PROGRAM)
    flags = pkg_config(prefix, "--cflags", "--libs")
    cc = compiler(os.environ.get("CC"), "cc").split()
    run(
        *cc,
        "-std=c11",
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
        "kitchen.c",
        "-o",
        "kitchen",
        *flags,
        cwd=tmp_path,
    )
    environment = os.environ | {"LD_LIBRARY_PATH": str(prefix / "lib")}
    assert run("./kitchen", cwd=tmp_path, env=environment).split()[1] == "2000"
    needed = run("readelf", "-d", "kitchen", cwd=tmp_path)
    assert "[libmanyhands.so.0]" in needed


EXAMPLES = sorted((Path(__file__).resolve().parents[3] / "examples" / "c").glob("*.c"))


@pytest.mark.parametrize("source", EXAMPLES, ids=lambda source: source.stem)
def test_an_example_is_short_and_needs_only_pkg_config(prefix: Path, tmp_path: Path, source: Path) -> None:
    flags = pkg_config(prefix, "--cflags", "--libs")
    cc = compiler(os.environ.get("CC"), "cc").split()
    assert len(source.read_text().splitlines()) < 150
    run(*cc, "-std=gnu11", "-Wall", "-Wextra", "-Werror", source, "-o", tmp_path / "example", *flags)
    environment = os.environ | {"LD_LIBRARY_PATH": str(prefix / "lib")}
    run(tmp_path / "example", env=environment)


def test_a_c_program_links_the_static_library(prefix: Path, tmp_path: Path) -> None:
    (tmp_path / "kitchen.c").write_text(PROGRAM)
    flags = pkg_config(prefix, "--cflags")
    cc = compiler(os.environ.get("CC"), "cc").split()
    run(
        *cc, "kitchen.c", "-o", "kitchen", *flags, prefix / "lib" / "libmanyhands.a", "-pthread", cwd=tmp_path
    )
    assert run("./kitchen", cwd=tmp_path).split()[1] == "2000"


def test_every_header_stands_alone_in_c_and_in_cpp(prefix: Path, tmp_path: Path) -> None:
    strict = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror", "-fsyntax-only"]
    languages = [(compiler(os.environ.get("CC"), "cc"), "-std=c11", "c")]
    if shutil.which("c++"):
        languages.append((compiler("c++"), "-std=c++17", "cpp"))
    headers = sorted(path.name for path in (prefix / "include" / "manyhands").glob("*.h"))
    source = Path(__file__).resolve().parents[3] / "include" / "manyhands"
    assert headers == sorted(path.name for path in source.glob("*.h")), (
        "include/meson.build lists other headers"
    )
    for program, standard, suffix in languages:
        for header in headers:
            (tmp_path / f"one.{suffix}").write_text(f"#include <manyhands/{header}>\n")
            run(
                *program.split(),
                standard,
                *strict,
                *pkg_config(prefix, "--cflags"),
                f"one.{suffix}",
                cwd=tmp_path,
            )


def test_a_wheel_holds_the_package_and_nothing_else(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("mesonpy")
    environment = os.environ | {
        "NINJA": tool("ninja"),
        "PATH": f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}",
    }
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = f"build-dir={tmp_path / 'build'}"
    run(
        *pip, "wheel", "--no-deps", "--no-build-isolation", "-C", build, "-w", tmp_path, root, env=environment
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert len(tops) == 2 and "manyhands" in tops, tops
    assert not [name for name in names if "__pycache__" in name or name.endswith((".a", ".h", ".pc"))]
    packaged = {name.removeprefix("manyhands/") for name in names if name.startswith("manyhands/")}
    written = {
        path.relative_to(root / "python" / "manyhands").as_posix()
        for path in (root / "python" / "manyhands").rglob("*.py")
    }
    assert written | {"py.typed"} <= packaged
    extensions = [name for name in names if name.endswith(".so")]
    assert len(extensions) == 1 and extensions[0].startswith("manyhands/_core."), extensions

    # installed alone, it works: nothing of the source tree is needed
    run(*pip, "install", "--no-deps", "--no-index", "--target", tmp_path / "site", wheel)
    alone = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {
        "PYTHONPATH": str(tmp_path / "site")
    }
    code = "import manyhands, manyhands._core as core; print(manyhands.__file__); print(core.__file__)"
    assert all(
        line.startswith(str(tmp_path / "site"))
        for line in run(sys.executable, "-c", code, env=alone, cwd=tmp_path).split()
    )
    script = tmp_path / "site" / "bin" / "manyhands"
    assert "usage" in run(sys.executable, script, "--help", env=alone, cwd=tmp_path).lower()

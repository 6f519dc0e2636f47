"""A project outside of the tree, on the installed library: by pkg-config and make, and by CMake. Programs of different
builds that share memory: of one layout they work together, of two they refuse each other and name both.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_install import compiler, run, tool

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[3]
CONSUMER = ROOT / "tests" / "consumer"
# what the library may weigh, and what it may depend on
MOST_BYTES = 150_000
LIBC = {"libc.so.6", "libc.so", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}


def install(source: Path, folder: Path, *options: str) -> Path:
    """Build the library alone, and install it into `folder`/prefix."""
    environment = os.environ | {"NINJA": tool("ninja")}
    prefix = folder / "prefix"
    words = ["--prefix", prefix, "--libdir", "lib", "-Dtests=false", *options]
    run(tool("meson"), "setup", folder / "build", source, *words, env=environment)
    run(tool("meson"), "install", "-C", folder / "build", env=environment)
    return prefix


def changed(folder: Path, version: str, layout: int) -> Path:
    """A copy of the sources that says it is of another version and layout."""
    for name in ("core", "include", "tools"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("meson.build", "meson.options", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    header = folder / "include" / "manyhands" / "base.h"
    text = header.read_text()
    for pattern, new in (
        (r'MH_VERSION "[^"]*"', f'MH_VERSION "{version}"'),
        (r"MH_LAYOUT \d+u", f"MH_LAYOUT {layout}u"),
    ):
        text, count = re.subn(pattern, new, text)
        assert count == 1
    header.write_text(text)
    return folder


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(ROOT, tmp_path_factory.mktemp("ours"), "--buildtype", "release")


@pytest.fixture(scope="module")
def next_patch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another version of the same layout, compiled otherwise."""
    source = changed(tmp_path_factory.mktemp("source"), "0.1.77", 1)
    return install(source, tmp_path_factory.mktemp("patch"), "--buildtype", "debug")


@pytest.fixture(scope="module")
def next_layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = changed(tmp_path_factory.mktemp("source"), "0.2.0", 2)
    return install(source, tmp_path_factory.mktemp("layout"), "--buildtype", "debug")


def environment(prefix: Path) -> dict[str, str]:
    return os.environ | {
        "PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig"),
        "LD_LIBRARY_PATH": str(prefix / "lib"),
    }


def by_make(prefix: Path, folder: Path) -> Path:
    compiler("pkg-config", "pkgconf")
    compiler("make")
    compiler("c++")
    shutil.copytree(CONSUMER, folder, dirs_exist_ok=True)
    run("make", "-C", folder, env=environment(prefix))
    return folder


def by_cmake(prefix: Path, folder: Path) -> Path:
    compiler("pkg-config", "pkgconf")
    compiler("c++")
    cmake = compiler("cmake")
    run(cmake, "-S", CONSUMER, "-B", folder, env=environment(prefix))
    run(cmake, "--build", folder, env=environment(prefix))
    return folder


@pytest.fixture
def name() -> Iterator[str]:
    """Of segments; gone afterwards."""
    name = f"manyhands-consumer-{os.getpid()}"
    yield name
    for one in (name, f"{name}-channel"):
        Path("/dev/shm", one).unlink(missing_ok=True)


def meet(maker: Path, maker_prefix: Path, user: Path, user_prefix: Path, name: str) -> tuple[int, str, str]:
    """The user's status, what it said and what the maker said in the end (where the user went well)."""
    making = subprocess.Popen(
        [maker / "maker", name], env=environment(maker_prefix), stdout=subprocess.PIPE, text=True
    )
    try:
        assert making.stdout is not None
        assert making.stdout.readline() == "ready\n"
        using = subprocess.run(
            [user / "user", name],
            env=environment(user_prefix),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        said = ""
        if using.returncode == 0:
            said, _ = making.communicate(timeout=120)
            assert making.returncode == 0
        return using.returncode, using.stdout + using.stderr, said
    finally:
        making.kill()
        making.communicate()


def test_a_thread_may_end_after_it_unloaded_the_library(ours: Path, tmp_path: Path) -> None:
    program = tmp_path / "unload"
    source = CONSUMER / "unload.c"
    run(compiler("cc"), "-std=gnu11", f"-I{ours}/include", source, "-o", program, "-ldl", "-lpthread")
    assert run(program, ours / "lib" / "libmanyhands.so") == "hello\n" * 3


@pytest.mark.parametrize("build", [by_make, by_cmake], ids=["make", "cmake"])
def test_a_project_outside_of_the_tree(
    ours: Path, tmp_path: Path, name: str, build: Callable[[Path, Path], Path]
) -> None:
    programs = build(ours, tmp_path / "consumer")
    assert run(programs / "kitchen", env=environment(ours)) == "4000 meals\n"
    status, _, said = meet(programs, ours, programs, ours, name)
    assert status == 0
    assert said == "sum 1999000, count 4000, and by the user\n"


def test_programs_of_different_builds_share_memory(
    ours: Path, next_patch: Path, tmp_path: Path, name: str
) -> None:
    mine, theirs = by_make(ours, tmp_path / "mine"), by_make(next_patch, tmp_path / "theirs")
    status, version, said = meet(mine, ours, theirs, next_patch, name)
    assert (status, version) == (0, "manyhands 0.1.77\n")
    assert said == "sum 1999000, count 4000, and by the user\n"


def test_programs_of_different_layouts_refuse_each_other_by_name(
    ours: Path, next_layout: Path, tmp_path: Path, name: str
) -> None:
    mine, theirs = by_make(ours, tmp_path / "mine"), by_make(next_layout, tmp_path / "theirs")
    status, said, _ = meet(mine, ours, theirs, next_layout, name)
    assert status == 3
    assert "made by manyhands 0.1.0 (layout 1" in said and "this is manyhands 0.2.0 (layout 2" in said


def test_the_library_is_small_and_needs_libc_alone(ours: Path, tmp_path: Path) -> None:
    library = (ours / "lib" / "libmanyhands.so").resolve()
    run(compiler("strip"), "-o", tmp_path / "stripped.so", library)
    assert (tmp_path / "stripped.so").stat().st_size < MOST_BYTES
    dynamic = run(compiler("readelf"), "-d", library)
    needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic))
    assert needed <= LIBC, needed
    # no code of ours runs before main(): what the compiler's own start files register is one entry
    arrays = dict(re.findall(r"\((INIT_ARRAYSZ|FINI_ARRAYSZ)\)\s+(\d+)", dynamic))
    assert all(int(size) <= 8 for size in arrays.values()), arrays


def test_every_public_symbol_has_a_version(ours: Path) -> None:
    listing = run(
        compiler("nm"), "-D", "--defined-only", "--with-symbol-versions", ours / "lib" / "libmanyhands.so"
    )
    names = [line.split()[-1] for line in listing.splitlines() if " A " not in line]
    assert names and all(re.fullmatch(r"mh_\w+@@MANYHANDS_0", name) for name in names), names

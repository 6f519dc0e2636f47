"""Make BUILD/site/manyhands: links to the package's files in the source tree, and to the built extension.

    link_package.py python BUILD

BUILD/site goes on sys.path. Python files are those of the source tree, so that an edit needs no build.
"""

import os
import sys
from pathlib import Path


def link_package(source: Path, build: Path) -> None:
    package = build / "site" / "manyhands"
    package.mkdir(parents=True, exist_ok=True)
    wanted = {path.name: path for path in (source / "manyhands").iterdir() if path.name != "__pycache__"}
    wanted |= {path.name: path for path in (build / "ext").glob("_core*.so")}
    for entry in package.iterdir():
        if entry.is_symlink() and entry.name not in wanted:
            entry.unlink()
    for name, path in wanted.items():
        target = os.path.relpath(path, package)
        link = package / name
        if link.is_symlink() and os.readlink(link) == target:
            continue
        link.unlink(missing_ok=True)
        link.symlink_to(target)


if __name__ == "__main__":
    link_package(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())

"""Print the files of the Python package, one a line, relative to the folder given: what a wheel must hold."""

import sys
from pathlib import Path

SUFFIXES = {".py", ".pyi", ".html", ".css", ".js", ".json", ".txt"}


def package_files(root: Path) -> list[str]:
    found = (
        path for path in (root / "manyhands").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    return sorted(
        str(path.relative_to(root)) for path in found if path.suffix in SUFFIXES or path.name == "py.typed"
    )


if __name__ == "__main__":
    print("\n".join(package_files(Path(sys.argv[1]))))

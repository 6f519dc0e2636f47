"""Print what pyproject.toml asks for under a name, one requirement a line: "build", "base" or an extra."""

import sys
import tomllib
from pathlib import Path


def requirements(project: dict, group: str) -> list[str]:
    """Extras that name other extras of the project ("manyhands[a,b]") are followed."""
    if group == "build":
        return list(project["build-system"]["requires"])
    if group == "base":
        return list(project["project"]["dependencies"])
    found = []
    for requirement in project["project"]["optional-dependencies"][group]:
        if requirement.startswith("manyhands["):
            for extra in requirement[len("manyhands[") : -1].split(","):
                found += requirements(project, extra.strip())
        else:
            found.append(requirement)
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    text = Path(__file__).resolve().parent.parent.joinpath("pyproject.toml").read_text()
    print("\n".join(requirements(tomllib.loads(text), sys.argv[1])))

"""The C reference that is made from the headers."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    subprocess.run([sys.executable, ROOT / "tools/man_pages.py", folder], check=True, capture_output=True)
    return folder


def test_every_public_function_and_header_has_a_page(reference):
    from check_contracts import declared_names

    pages = {path.stem for path in (reference / "man3").glob("*.3")}
    headers = {path.stem for path in (ROOT / "include/manyhands").glob("*.h")}
    assert pages == set(declared_names(ROOT)) | {f"manyhands_{name}" for name in headers}
    assert {path.stem for path in (reference / "md").glob("*.md")} == headers


def test_a_page_says_how_it_is_called_and_what_it_promises(reference):
    text = (reference / "man3/mh_channel_put.3").read_text().replace("\\-", "-")
    for word in ("#include <manyhands/channel.h>", "int mh_channel_put(mh_channel *channel", "-ETIMEDOUT"):
        assert word in text
    for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "CONTRACT", "SEE ALSO"):
        assert f".SH {section}\n" in text
    assert "MT-safe PROC-safe" in text and "After a death" in text


def arguments(text: str, start: int) -> list[str]:
    """Those of a call whose parenthesis opens at `start`, split at the commas of its own level."""
    found, depth, word = [], 0, ""
    for char in text[start:]:
        depth += (char in "([{") - (char in ")]}")
        if (char == "," and depth == 1) or depth == 0:
            found.append(word.strip("( \n"))
            word = ""
            if depth == 0:
                break
        else:
            word += char
    return [] if found in ([""], ["void"]) else found


def test_the_examples_in_the_headers_call_what_there_is():
    """Each header has one, and each call in it has as many arguments as the function."""
    texts = {path.stem: path.read_text() for path in (ROOT / "include/manyhands").glob("*.h")}
    takes = {
        match[1]: len(arguments(text, match.end() - 1))
        for text in texts.values()
        for match in re.finditer(r"^MH_API [^(;]*?(mh_\w+)\(", text, re.M)
    }
    calls = 0
    for name, text in texts.items():
        overview = text[: text.index("#ifndef MANYHANDS_")]
        example = "".join(line[5:] + "\n" for line in overview.splitlines() if line.startswith(" *   "))
        assert name == "manyhands" or "mh_" in example, f"{name}.h shows no use"
        for match in re.finditer(r"\b(mh_\w+)\(", re.sub(r"//.*", "", example)):
            given = arguments(re.sub(r"//.*", "", example), match.end() - 1)
            if match[1] in takes and "..." not in given:
                assert len(given) == takes[match[1]], f"{name}.h: {match[1]}({', '.join(given)})"
                calls += 1
    assert calls > 50


def test_man_finds_nothing_to_complain_of(reference):
    if shutil.which("groff") is None and shutil.which("man") is None:
        pytest.skip("neither groff nor man is here")
    pages = sorted((reference / "man3").glob("*.3"))
    command = (
        ["groff", "-man", "-Tutf8", "-ww", "-z"] if shutil.which("groff") else ["man", "--warnings", "-l"]
    )
    for page in pages[::10] if command[0] == "groff" else pages[:3]:
        done = subprocess.run([*command, page], capture_output=True, text=True, check=True)
        assert done.stderr == "", page.name

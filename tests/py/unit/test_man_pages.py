"""The C reference that is made from the headers."""

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

"""Another program opens a named shared memory block, reads it and ends.

stdlib (before 3.13, and later by default): that program's resource tracker destroys the block under its owner.
Wanted: the block lives until its owner unlinks it.
"""

import subprocess
import sys
import time
from multiprocessing import shared_memory

READER = """
import sys
from multiprocessing import shared_memory
block = shared_memory.SharedMemory(sys.argv[1])
assert bytes(block.buf[:5]) == b"hello"
block.close()
"""

if __name__ == "__main__":
    block = shared_memory.SharedMemory(create=True, size=4096)
    block.buf[:5] = b"hello"
    prefix = sys.orig_argv[1:-1] if sys.orig_argv[1:2] == ["-m"] else []
    if prefix:  # started through a launcher: the reader is, too
        import pathlib
        import tempfile

        script = pathlib.Path(tempfile.mkdtemp()) / "reader.py"
        script.write_text(READER)
        command = [sys.executable, *prefix, str(script), block.name]
    else:
        command = [sys.executable, "-c", READER, block.name]
    subprocess.run(command, check=True)
    time.sleep(1)
    again = shared_memory.SharedMemory(block.name)
    assert bytes(again.buf[:5]) == b"hello"
    again.close()
    block.close()
    block.unlink()
    print("OK")

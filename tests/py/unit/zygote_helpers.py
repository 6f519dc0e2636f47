"""What a spawned child says of itself in test_mp_zygote.py."""

import contextlib
import gc
import multiprocessing
import os
import random
import resource
import signal
import sys
import threading


def lines(path, *names):
    with open(path) as file:
        return [line.strip() for line in file if line.startswith(names)]


def descriptors():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}"), os.get_inheritable(int(name))
    return found


def is_from_a_zygote():
    with open("/proc/self/cmdline", "rb") as file:
        return b"_zygote" in file.read()


def facts():
    """All that a program could see of how it was started."""
    me, thread = multiprocessing.current_process(), threading.current_thread()
    main = sys.modules["__main__"]
    return {
        "parent": (
            os.getppid(),
            multiprocessing.parent_process().pid,
            multiprocessing.parent_process().is_alive(),
        ),
        "groups": (os.getsid(0), os.getpgid(0), os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "status": lines(
            "/proc/self/status", "Umask", "Uid", "Gid", "Groups", "Threads", "Sig", "Cap", "NoNew"
        ),
        "limits": [resource.getrlimit(i) for i in range(16)],
        "argv": sys.argv,
        "path": sys.path,
        "flags": tuple(sys.flags),
        "main": (main.__name__, main.__spec__, sorted(set(vars(main)) - {"__builtins__"})),
        "process": (type(me).__name__, me.name.partition("-")[0], me.daemon, me._identity[:-1]),
        "thread": (
            thread.name,
            thread is threading.main_thread(),
            thread.native_id == os.getpid(),
            threading.active_count(),
        ),
        "handlers": {str(one): str(signal.getsignal(one)).split(" at ")[0] for one in signal.valid_signals()},
        "mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "collector": (gc.isenabled(), gc.get_threshold(), gc.get_debug()),
        "hooks": (sys.gettrace(), sys.getprofile(), sys.excepthook.__name__, sys.getswitchinterval()),
        "streams": [
            None if file is None else (file.fileno(), file.encoding, file.errors, file.line_buffering)
            for file in (sys.stdout, sys.stderr)
        ],
        "names": sorted(
            {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names) - {"manyhands"}
        ),
    }


def origin(_):
    return is_from_a_zygote()


def tell(queue):
    queue.put((is_from_a_zygote(), facts(), descriptors(), random.random()))


def tell_origin(queue):
    queue.put((is_from_a_zygote(), os.getpid()))


def leave(code):
    sys.exit(code)


def write_at_exit(path):
    """A whole end of the interpreter, as of one that was executed."""
    import atexit

    file = open(path, "a")  # noqa: SIM115 - the interpreter's end closes it
    file.write("buffered\n")
    atexit.register(file.write, "at exit\n")
    globals()["kept"] = file


def write_one(path, text):
    with open(path, "a") as file:
        file.write(f"{text}\n")


def spawn_three(queue):
    for _ in range(3):
        process = multiprocessing.get_context("spawn").Process(target=tell_origin, args=(queue,))
        process.start()
        process.join()


def read_descriptor(duplicate, queue):
    fd = duplicate.detach()
    queue.put((fd, os.read(fd, 100)))
    os.close(fd)

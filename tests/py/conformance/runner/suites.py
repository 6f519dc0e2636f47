"""The suites by name: which of CPython's test modules, and which of the substituted modules they test."""

SUITES = {
    "threading": (["test.test_threading"], ["threading"]),
    "thread": (["test.test_thread"], []),  # tests _thread
    "thread_local": (["test.test_threading_local"], []),  # _thread._local
    "thread_local_subj": (["test.conformance_local"], ["threading"]),
    "threadedtempfile": (["test.test_threadedtempfile"], ["threading"]),
    "threadsignals": (["test.test_threadsignals"], ["threading"]),
    "fork1": (["test.test_fork1"], ["threading"]),
    "queue": (["test.test_queue"], ["queue", "threading"]),
    "sched": (["test.test_sched"], ["threading", "queue"]),
    "socketserver": (["test.test_socketserver"], ["threading"]),
    "futures": (["test.test_concurrent_futures"], ["concurrent.futures", "multiprocessing"]),
    "mp_fork": (["test.test_multiprocessing_fork"], ["multiprocessing"]),
    "mp_forkserver": (["test.test_multiprocessing_forkserver"], ["multiprocessing"]),
    "mp_spawn": (["test.test_multiprocessing_spawn"], ["multiprocessing"]),
    "mp_main_handling": (["test.test_multiprocessing_main_handling"], ["multiprocessing"]),
    "asyncio": (
        [
            "test.test_asyncio.test_threads",
            "test.test_asyncio.test_base_events",
            "test.test_asyncio.test_futures",
            "test.test_asyncio.test_runners",
            "test.test_asyncio.test_tasks",
        ],
        ["threading", "concurrent.futures"],
    ),
    # Tests of other modules that lean on the substituted ones.
    "users": (
        [
            "test.test_context",
            "test.test_functools",
            "test.test_logging",
            "test.test_contextvars",
            "test.test_importlib.test_locks",
            "test.test_importlib.test_threaded_import",
            "test.test_thread_local_bytecode",  # 3.14
            "test.test_free_threading",
        ],  # 3.13+
        ["threading"],
    ),
}

# Modules written for installations that lack them; put on test.__path__ by
# the hook, behind the installed ones.
SYNTHESISED = {
    "conformance_local.py": "# test_threading_local tests _thread._local and _threading_local;\n"
    "# these are the same tests on the `local` of the substituted module.\n"
    "import threading, unittest\n"
    "from test import test_threading_local as base\n"
    "class SubjectLocalTest(unittest.TestCase, base.BaseLocalTest):\n"
    "    _local = threading.local\n",
}
for _m in ("fork", "spawn", "forkserver"):
    SYNTHESISED[f"test_multiprocessing_{_m}.py"] = (
        "from test._test_multiprocessing import install_tests_in_module_dict\n"
        f"install_tests_in_module_dict(globals(), {_m!r})\n"
    )

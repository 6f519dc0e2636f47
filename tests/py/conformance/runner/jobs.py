"""One worker process over some tests: its events, its time limit, and the end of all that it started."""

import collections
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from typing import ClassVar


def processes_of(mark):
    """Pids of every live process that carries the job's mark (Linux)."""
    found = []
    needle = ("CONFORMANCE_JOB=" + mark).encode()
    for pid in filter(str.isdigit, os.listdir("/proc") if os.path.isdir("/proc") else []):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                if needle in f.read():
                    found.append(int(pid))
        except OSError:
            pass
    return found


def kill_job(proc, mark):
    """Dump the worker's threads, then kill it and all that it started."""
    if proc.poll() is None:
        try:
            os.kill(proc.pid, signal.SIGABRT)
            proc.wait(3)
        except (subprocess.TimeoutExpired, ProcessLookupError):
            pass
    for _ in range(5):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(proc.pid, signal.SIGKILL)
        left = [p for p in processes_of(mark) if p != os.getpid()]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not left:
            break
        time.sleep(0.05)
    proc.wait()


class Job:
    """One worker process over some tests of one suite."""

    live: ClassVar[set] = set()  # killed when the runner is interrupted
    numbers = itertools.count()

    def __init__(self, env, modules, ids, timeout, listing=False):
        self.env, self.ids, self.timeout = env, ids, timeout
        self.mark = uuid.uuid4().hex
        base = os.path.join(env.jobs, self.mark)
        self.events_file, self.log_file = base + ".events", base + ".log"
        # Short: the forkserver binds an AF_UNIX socket (108 bytes) below it.
        self.cwd = os.path.join(env.work, str(next(Job.numbers)))
        os.mkdir(self.cwd)
        with open(base + ".job", "w") as f:
            json.dump({"modules": modules, "ids": ids, "list": listing, "events": self.events_file}, f)
        environ = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        environ.update(
            CONFORMANCE_JOB=self.mark, PYTHONUNBUFFERED="1", PYTHONDONTWRITEBYTECODE="1", TMPDIR=self.cwd
        )
        with open(self.log_file, "wb") as log:
            self.proc = subprocess.Popen(
                env.command(base + ".job"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.cwd,
                env=environ,
                start_new_session=True,
                # A shell's background job inherits an ignored SIGINT, which
                # would fail the interrupt_main tests.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        Job.live.add(self)
        self.results, self.fixtures, self.probes = {}, [], []
        self.listed, self.absent = [], set()
        self.done, self.env_altered = False, False
        self.current, self.offset = None, 0
        self.since = time.monotonic()

    def _read(self):
        try:
            with open(self.events_file, "rb") as f:
                f.seek(self.offset)
                data = f.read()
        except FileNotFoundError:
            return
        data = data[: data.rfind(b"\n") + 1]
        self.offset += len(data)
        for line in data.splitlines():
            ev = json.loads(line)
            kind = ev.pop("e")
            self.since = time.monotonic()
            if kind == "start":
                self.current = ev["id"]
            elif kind == "end":
                self.current = None
                self.results[ev.pop("id")] = ev
            elif kind == "fixture":
                self.fixtures.append(ev)
            elif kind == "probe":
                self.probes.append(ev)
            elif kind == "listed":
                self.listed.append((ev["id"], ev["group"]))
                if ev["absent"]:
                    self.absent.add(ev["id"])
            elif kind == "done":
                self.done, self.env_altered = True, ev.get("env_altered")

    def log_tail(self, n=4000):
        with open(self.log_file, "rb") as f:
            return f.read()[-n:].decode("utf-8", "replace")

    def poll(self):
        """True when the job is over."""
        self._read()
        over = self.proc.poll() is not None
        hung = not over and time.monotonic() - self.since > self.timeout
        if not over and not hung:
            return False
        kill_job(self.proc, self.mark)  # children left behind, too
        Job.live.discard(self)
        self._read()
        secs = round(time.monotonic() - self.since, 1)
        if hung and self.done:
            # All tests are through, but the interpreter does not exit.
            self.fixtures.append({"id": "interpreter exit", "status": "timeout", "detail": self.log_tail()})
        elif self.current is not None and self.current not in self.results:
            self.results[self.current] = {
                "status": "timeout" if hung else "crash",
                "secs": secs,
                "detail": "worker {}\n{}".format(
                    "hung" if hung else f"died: status {self.proc.returncode}", self.log_tail()
                ),
            }
        elif not self.done:
            self.fixtures.append(
                {"id": "worker", "status": "timeout" if hung else "crash", "detail": self.log_tail()}
            )
        shutil.rmtree(self.cwd, ignore_errors=True)
        return True


def list_suite(env, modules, timeout):
    job = Job(env, modules, [], timeout, listing=True)
    while not job.poll():
        time.sleep(0.05)
    if not job.done:
        return None, set(), job.log_tail()
    return job.listed, job.absent, ""


def run_ids(env, modules, listed, args, progress=lambda *a: None):
    """Run the tests in `listed`, one worker per class; return what came."""
    groups = {}
    for tid, group in listed:
        groups.setdefault(group, []).append(tid)
    todo = collections.deque(groups.values())
    running, results, fixtures, probes, altered = [], {}, [], {}, []
    while todo or running:
        while todo and len(running) < args.jobs:
            running.append(Job(env, modules, todo.popleft(), args.timeout))
        for job in list(running):
            if not job.poll():
                continue
            running.remove(job)
            results.update(job.results)
            for tid in job.results:
                progress(tid, job.results[tid])
            fixtures.extend(job.fixtures)
            if job.env_altered:
                altered.append(job.ids[0].rpartition(".")[0])
            for p in job.probes:
                probes.setdefault(p["module"], {}).update(p["held"])
            rest = [i for i in job.ids if i not in job.results]
            if rest and job.results and not job.done:
                todo.appendleft(rest)  # go on behind a hang or crash
            elif rest:
                # Never reached: the class's or module's fixture said no.
                fx = job.fixtures[-1] if job.fixtures else {"status": "error", "detail": job.log_tail()}
                for tid in rest:
                    results[tid] = {"status": fx["status"], "secs": 0.0, "detail": "fixture: " + fx["detail"]}
        time.sleep(0.02)
    return {"results": results, "fixtures": fixtures, "probes": probes, "env_altered": sorted(set(altered))}

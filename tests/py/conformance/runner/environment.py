"""A throw-away virtual environment of the tested interpreter, in which a subject is substituted."""

import os
import shutil
import subprocess

from .suites import SYNTHESISED

HERE = os.path.dirname(os.path.abspath(__file__))

# A package's __main__, since multiprocessing does not run those again in spawned children.
WORKER = """\
import importlib.util, sys
spec = importlib.util.spec_from_file_location("conformance_tests", {path!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.main(sys.argv[1])
"""


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


class Environment:
    """A virtual environment of `python` below `work`; `subject` None is the plain standard library."""

    def __init__(self, python, subject, options, work):
        self.subject, self.options, self.work = subject, options, work
        name = subject or "stdlib"
        self.folder = os.path.join(work, "env-" + name)
        self.trace = os.path.join(work, "trace-" + name)
        self.jobs = os.path.join(work, "jobs-" + name)
        os.makedirs(self.jobs, exist_ok=True)
        # The subject is either on a given path or installed beside the interpreter.
        outer = [] if options.subject_path else ["--system-site-packages"]
        subprocess.run([python, "-m", "venv", "--without-pip", "--symlinks", *outer, self.folder], check=True)
        self.python = os.path.join(self.folder, "bin", "python")
        self._equip()

    def _equip(self):
        """Put the hook, its settings and the worker into the environment's site-packages."""
        synthesised = os.path.join(self.work, "synthesised")
        for file, text in SYNTHESISED.items():
            write(os.path.join(synthesised, file), text)
        ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
        asked = subprocess.run([self.python, "-c", ask], check=True, capture_output=True, text=True)
        site = asked.stdout.strip()
        hooked = None if self.options.via == "launcher" else self.subject
        settings = {"SUBJECT": hooked, "TRACE": self.trace, "BORROW": [*self.options.tests_dir, synthesised]}
        write(
            os.path.join(site, "conformance_settings.py"),
            "".join(f"{name} = {value!r}\n" for name, value in settings.items()),
        )
        shutil.copy(os.path.join(HERE, "hook.py"), os.path.join(site, "conformance_hook.py"))
        write(os.path.join(site, "conformance_worker", "__init__.py"), "")
        write(
            os.path.join(site, "conformance_worker", "__main__.py"),
            WORKER.format(path=os.path.join(HERE, "worker.py")),
        )
        paths = [os.path.abspath(path) for path in self.options.subject_path]
        write(os.path.join(site, "conformance.pth"), "\n".join([*paths, "import conformance_hook", ""]))

    def command(self, job_file):
        launch = []
        if self.subject and self.options.via == "launcher":
            launch = ["-m", self.subject, "run"]
        return [self.python, *launch, "-m", "conformance_worker", job_file]

    def traced(self, since=0):
        """What the hooks have written from the position `since` on, and the position of the end."""
        try:
            with open(self.trace, errors="replace") as file:
                file.seek(since)
                return [line.rstrip("\n").split("\t") for line in file], file.tell()
        except FileNotFoundError:
            return [], since

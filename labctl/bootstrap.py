"""Makes .venv from requirements.txt; run by ./lab with any Python >= 3.11, on the standard library alone.

Exit status: 0 when .venv is ready, 1 (only with --check) when it is not, 2 when it could not be made.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "warren-stamp"
# Compiled at once with all cores: where bytecode is not written, each start of Ansible would do it again.
COMPILED = (
    "ansible",
    "ansible_collections/ansible/posix",
    "ansible_collections/community/crypto",
    "ansible_collections/community/docker",
    "ansible_collections/community/postgresql",
    "ansible_collections/community/rabbitmq",
    "ansible_mitogen",
    "click",
    "docker",
    "httpx",
    "jinja2",
    "mitogen",
    "pygments",
    "_pytest",
    "rich",
    "testinfra",
    "yaml",
)


def wanted_stamp() -> str:
    """What a finished .venv carries: requirements, Python and place (its scripts hold absolute paths)."""
    digest = hashlib.sha256((ROOT / "requirements.txt").read_bytes()).hexdigest()
    return f"{digest} {sys.version_info.major}.{sys.version_info.minor} {VENV}\n"


def is_ready() -> bool:
    """True when .venv was finished by this Python from the present requirements."""
    try:
        return STAMP.read_text(encoding="utf-8") == wanted_stamp()
    except OSError:
        return False


@contextmanager
def only_one() -> Iterator[None]:
    """Hold the lock of .venv, waiting for another ./lab that makes it."""
    (ROOT / ".lab").mkdir(mode=0o700, exist_ok=True)
    with (ROOT / ".lab" / "venv.lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Waiting for another ./lab that makes .venv ...", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build() -> None:
    """Make .venv anew; the stamp comes last, so an interrupted build is done again."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    print(f"Making .venv with Python {version} from requirements.txt ...", file=sys.stderr)
    started = time.monotonic()
    if VENV.exists():
        shutil.rmtree(VENV)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    python = VENV / "bin" / "python"
    steps: list[list[str]] = [
        [sys.executable, "-m", "venv", str(VENV)],
        [
            str(python),
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--no-compile",
            "-r",
            "requirements.txt",
        ],
    ]
    for step in steps:
        run(step, environment)
    packages = next(VENV.glob("lib/python3*/site-packages"))
    subprocess.run(  # a package that does not compile is no reason to stop
        [str(python), "-m", "compileall", "-q", "-j", "0", *COMPILED],
        cwd=packages,
        env=environment,
        check=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    STAMP.write_text(wanted_stamp(), encoding="utf-8")
    print(f"Made .venv in {time.monotonic() - started:.0f} s.", file=sys.stderr)


def run(command: list[str], environment: dict[str, str]) -> None:
    """Run one step quietly; when it fails, show its last words and exit with 2."""
    result = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if result.returncode != 0:
        print("\n".join(result.stdout.splitlines()[-12:]), file=sys.stderr)
        print(
            "Making .venv failed at the step above: check that the Python package index answers and that the"
            " disk has 1 GB free, then run ./lab again.",
            file=sys.stderr,
        )
        sys.exit(2)


def main() -> None:
    if "--check" in sys.argv[1:]:
        sys.exit(0 if is_ready() else 1)
    with only_one():
        if not is_ready():
            build()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("Interrupted; the next ./lab makes .venv anew.", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        print(f"Making .venv failed: {error}; correct that, then run ./lab again.", file=sys.stderr)
        sys.exit(2)

"""Makes .venv from requirements.txt; run by ./lab with any Python >= 3.11, on the standard library alone.

With --into=FOLDER it makes another environment there, for the Python that runs it.
Exit status: 0 when .venv is ready, 1 (only with --check) when it is not, 2 when it could not be made.
"""

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
STAMP = "warren-stamp"
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


def wanted_stamp(venv: Path = VENV) -> str:
    """What a finished one carries: requirements, Python and place (its scripts hold absolute paths)."""
    digest = hashlib.sha256((ROOT / "requirements.txt").read_bytes()).hexdigest()
    return f"{digest} {sys.version_info.major}.{sys.version_info.minor} {venv}\n"


def is_ready(venv: Path = VENV) -> bool:
    """True when the environment was finished by this Python from the present requirements."""
    try:
        return (venv / STAMP).read_text(encoding="utf-8") == wanted_stamp(venv)
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


def build(venv: Path = VENV) -> None:
    """Make the environment anew; the stamp comes last, so an interrupted build is done again."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    name = venv.relative_to(ROOT) if venv.is_relative_to(ROOT) else venv
    print(f"Making {name} with Python {version} from requirements.txt ...", file=sys.stderr)
    started = time.monotonic()
    if venv.is_symlink():
        raise OSError(f"{name} is a symbolic link, which is not ours to remove")
    if venv.exists():
        shutil.rmtree(venv)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    python = venv / "bin" / "python"
    steps: list[list[str]] = [
        [sys.executable, "-m", "venv", str(venv)],
        [
            str(python),
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--no-compile",
            "--require-hashes",
            "--only-binary=:all:",
            "-r",
            "requirements.txt",
        ],
    ]
    for step in steps:
        run(step, environment)
    packages = next(venv.glob("lib/python3*/site-packages"))
    subprocess.run(  # a package that does not compile is no reason to stop
        [str(python), "-m", "compileall", "-q", "-j", "0", *COMPILED],
        cwd=packages,
        env=environment,
        check=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    (venv / STAMP).write_text(wanted_stamp(venv), encoding="utf-8")
    print(f"Made {name} in {time.monotonic() - started:.0f} s.", file=sys.stderr)


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
            "Making the Python environment failed at the step above: check that the Python package index"
            " answers and that the disk has 1 GB free, then try again.",
            file=sys.stderr,
        )
        sys.exit(2)


def main() -> None:
    into = [word.partition("=")[2] for word in sys.argv[1:] if word.startswith("--into=")]
    venv = Path(into[-1]).absolute() if into else VENV
    if "--check" in sys.argv[1:]:
        sys.exit(0 if is_ready(venv) else 1)
    with only_one():
        if not is_ready(venv):
            build(venv)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("Interrupted; the next ./lab makes .venv anew.", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        print(f"Making .venv failed: {error}; correct that, then run ./lab again.", file=sys.stderr)
        sys.exit(2)

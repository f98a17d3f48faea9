"""Creates .venv from requirements.txt; run by ./lab with any Python >= 3.11, on the standard library alone.

With --into=FOLDER it creates another environment there, for the Python that runs it.
Exit status: 0 when .venv is ready, 1 (only with --check) when it is not, 2 when it could not be created.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from labctl.programs import surroundings  # noqa: E402 - the path above makes it importable

VENV = ROOT / ".venv"
STAMP = "warren-stamp"
# Compiled at once with all cores: where bytecode is not written, each start of Ansible would do it again.
PACKAGES = ["ansible", "ansible_mitogen", "mitogen", "click", "docker", "httpx", "jinja2", "pygments", "rich"]
PACKAGES += ["_pytest", "testinfra", "yaml", "ansible_collections/ansible/posix"]
PACKAGES += [
    f"ansible_collections/community/{name}" for name in ("crypto", "docker", "postgresql", "rabbitmq")
]


def wanted_stamp(venv: Path = VENV) -> str:
    """What a finished one contains: requirements, Python and path, which its scripts contain too."""
    digest = hashlib.sha256((ROOT / "requirements.txt").read_bytes()).hexdigest()
    return f"{digest} {sys.version_info.major}.{sys.version_info.minor} {venv}\n"


def is_ready(venv: Path = VENV) -> bool:
    """True when the environment was finished by this Python from the present requirements."""
    try:
        return (venv / STAMP).read_text(encoding="utf-8") == wanted_stamp(venv)
    except OSError:
        return False


def build(venv: Path = VENV) -> None:
    """Create the environment anew; the stamp comes last, so an interrupted build is done again."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    name = venv.relative_to(ROOT) if venv.is_relative_to(ROOT) else venv
    print(f"Creating {name} with Python {version} from requirements.txt ...", file=sys.stderr)
    started = time.monotonic()
    if venv.is_symlink():
        raise OSError(f"{name} is a symbolic link, which ./lab does not remove")
    if venv.exists():
        shutil.rmtree(venv)
    python = str(venv / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-compile"]
    run([sys.executable, "-m", "venv", str(venv)])
    run([*pip, "--require-hashes", "--only-binary=:all:", "-r", "requirements.txt"])
    subprocess.run(  # a package that does not compile is no reason to stop
        [python, "-m", "compileall", "-q", "-j", "0", *PACKAGES],
        cwd=next(venv.glob("lib/python3*/site-packages")),
        check=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    (venv / STAMP).write_text(wanted_stamp(venv), encoding="utf-8")
    print(f"Created {name} in {time.monotonic() - started:.0f} s.", file=sys.stderr)


def run(command: list[str]) -> None:
    """Run one step without output; when it fails, print its last lines and exit with 2."""
    output = subprocess.PIPE
    done = subprocess.run(command, cwd=ROOT, check=False, text=True, stdout=output, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        print("\n".join(done.stdout.splitlines()[-12:]), file=sys.stderr)
        print(
            "Creating the Python environment failed at the step above: check that the Python package index"
            " answers and that the disk has 1 GB free, then try again.",
            file=sys.stderr,
        )
        sys.exit(2)


def main() -> None:
    surroundings.adopt()
    into = [word.partition("=")[2] for word in sys.argv[1:] if word.startswith("--into=")]
    venv = Path(into[-1]).absolute() if into else VENV
    if "--check" in sys.argv[1:]:
        sys.exit(0 if is_ready(venv) else 1)
    (ROOT / ".lab").mkdir(mode=0o700, exist_ok=True)
    with (ROOT / ".lab" / "venv.lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Waiting for another ./lab that creates .venv ...", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_ready(venv):
            build(venv)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("Interrupted; the next ./lab creates .venv anew.", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        print(f"Creating .venv failed: {error}; correct that, then run ./lab again.", file=sys.stderr)
        sys.exit(2)

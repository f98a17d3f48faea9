"""What the tests need beyond ./lab: packages in .venv, PostgreSQL's programs, a browser, promtool."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from labctl.ansible.failures import registry_unreachable
from labctl.errors import UsageError
from labctl.machine import root
from labctl.paths import ROOT
from labctl.screen import Screen

_STAMP = Path(sys.prefix) / "warren-dev-stamp"
_CLUSTERS = Path("/etc/postgresql-common/createcluster.d")
PROMTOOL = ROOT / ".lab" / "cache" / "promtool" / "usr" / "bin" / "promtool"


def ensure_packages(screen: Screen) -> None:
    """Install requirements-dev.txt into .venv when it changed."""
    _install(ROOT / "requirements-dev.txt", _STAMP, screen, "the development packages")


def ensure_oldest_celery(cache: Path, screen: Screen) -> Path:
    """The folder with the oldest Celery that celery_durable supports, for the front of PYTHONPATH."""
    folder = cache / "celery-oldest"
    requirements = ROOT / "celery_durable" / "tests" / "requirements-oldest.txt"
    options = ["--no-deps", "--upgrade", "--target", str(folder)]
    _install(requirements, folder / "stamp", screen, "the oldest Celery", options)
    return folder


def _install(requirements: Path, stamp: Path, screen: Screen, what: str, options: Sequence[str] = ()) -> None:
    """Install pinned requirements unless the stamp says that it is done. Raises UsageError."""
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "-q"]
    pip += ["--require-hashes", "--only-binary=:all:", *options, "-r", str(requirements)]
    with screen.step(f"install {what}") as step:
        step.update(f"pip install -r {requirements.name}")
        done = subprocess.run(pip, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            words = "\n".join(done.stderr.strip().splitlines()[-6:])
            unreachable = registry_unreachable(words)
            cause = "the package registry could not be reached" if unreachable else "pip failed"
            raise UsageError(f"Cannot install {what}, {cause}; then run ./lab test again.\n{words}")
    stamp.write_text(wanted, encoding="utf-8")


def ensure_vagrant(screen: Screen) -> None:
    """Install Vagrant from the distribution; raises UsageError where that has none."""
    if shutil.which("vagrant") is not None:
        return
    if not root.is_debian_like():
        raise UsageError(
            "Vagrant is missing and this system is not Debian or Ubuntu: install it as its own pages say"
            " (developer.hashicorp.com/vagrant), then run this again."
        )
    root.apt_install(["vagrant"], screen)


def ensure_qemu(screen: Screen) -> None:
    """Install what boots VMs; where this is not Debian, images/run-box names what is missing."""
    needed = {"qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils", "ssh": "openssh-client"}
    missing = [package for program, package in needed.items() if shutil.which(program) is None]
    if missing and root.is_debian_like():
        root.apt_install(missing, screen)


def ensure_browser(screen: Screen) -> None:
    """Install Chromium from the distribution, and a font; elsewhere the tests look on PATH."""
    if shutil.which("chromium") is None and root.is_debian_like():
        root.apt_install(["chromium", "fonts-dejavu-core"], screen)


def ensure_postgresql(screen: Screen) -> None:
    """Install PostgreSQL's programs, of which app/tests start a private server; no service is made."""
    if any(Path("/usr/lib/postgresql").glob("*/bin/postgres")) or not root.is_debian_like():
        return  # elsewhere the tests look on PATH, and say what they miss
    marker = _CLUSTERS / "warren.conf"
    root.run(["sh", "-c", f"mkdir -p {_CLUSTERS} && echo 'create_main_cluster = false' > {marker}"])
    try:
        root.apt_install(["postgresql"], screen)
    finally:
        root.run(["rm", "-f", str(marker)])


def ensure_promtool(screen: Screen) -> None:
    """Bring promtool, which tests the alerts, into the cache: its package's service is not wanted here.

    A package of its own in Debian 13, a part of Prometheus's before. Where this is not Debian, or the
    registry is unavailable, the tests say what they miss.
    """
    if shutil.which("promtool") is not None or PROMTOOL.exists() or not root.is_debian_like():
        return
    with screen.step("bring promtool") as step, tempfile.TemporaryDirectory() as scratch:
        step.update("apt-get download promtool")
        package = _downloaded(Path(scratch), "promtool", "prometheus")
        if package is None:
            step.update("apt-get update")
            root.run(["apt-get", "update", "-q"])
            package = _downloaded(Path(scratch), "promtool", "prometheus")
        if package is not None:
            subprocess.run(["dpkg-deb", "--extract", str(package), f"{scratch}/unpacked"], check=True)
            PROMTOOL.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(f"{scratch}/unpacked/usr/bin/promtool", PROMTOOL)
        step.ok = PROMTOOL.exists()
        step.result = "in .lab/cache" if step.ok else "not available"


def _downloaded(folder: Path, *packages: str) -> Path | None:
    """File of the first of these packages that the distribution has; needs no root."""
    for package in packages:
        command = ["apt-get", "download", "-q", package]
        subprocess.run(command, check=False, capture_output=True, cwd=folder)
        files = list(folder.glob(f"{package}_*.deb"))
        if files:
            return files[0]
    return None

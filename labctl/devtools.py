"""What the tests need beyond ./lab itself: packages in .venv, PostgreSQL's programs, a browser."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from labctl.errors import UsageError
from labctl.failures import registry_unreachable
from labctl.host import root
from labctl.paths import ROOT
from labctl.screen import Screen

_STAMP = Path(sys.prefix) / "warren-dev-stamp"
_CLUSTERS = Path("/etc/postgresql-common/createcluster.d")


def ensure_packages(screen: Screen) -> None:
    """Install requirements-dev.txt into .venv when it or the application's requirements changed."""
    files = [ROOT / name for name in ("requirements-dev.txt", "requirements.txt", "app/requirements.txt")]
    wanted = hashlib.sha256(b"".join(file.read_bytes() for file in files if file.exists())).hexdigest()
    if _STAMP.exists() and _STAMP.read_text(encoding="utf-8") == wanted:
        return
    with screen.step("install the development packages") as step:
        step.update("pip install -r requirements-dev.txt")
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "install",
                "--disable-pip-version-check",
                "-q",
                "-r",
                str(files[0]),
            ],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            words = "\n".join(done.stderr.strip().splitlines()[-6:])
            cause = (
                "the package registry could not be reached" if registry_unreachable(words) else "pip failed"
            )
            raise UsageError(
                f"The development packages cannot be installed, {cause}; then run ./lab test again.\n{words}"
            )
        step.result = "in .venv"
    _STAMP.write_text(wanted, encoding="utf-8")


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

"""Commands as root on this machine, and the installation of packages."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from labctl.ansible.failures import registry_unreachable
from labctl.errors import UsageError
from labctl.screen import Screen

_APT_INSTALL = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-q")
_APT_OPTIONS = ("-o", "DPkg::Lock::Timeout=300", "--no-install-recommends")


@cache
def prefix() -> tuple[str, ...] | None:
    """Words before a command that run it as root; None when this user cannot become root."""
    if os.geteuid() == 0:
        return ()
    if shutil.which("sudo") is None:
        return None
    silent = subprocess.run(["sudo", "-n", "true"], check=False, capture_output=True)
    if silent.returncode == 0:
        return ("sudo", "-n")
    if sys.stdin.isatty() and subprocess.run(["sudo", "-v"], check=False).returncode == 0:
        return ("sudo",)
    return None


def run(command: Sequence[str], *, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command as root; raises UsageError naming it when this user cannot become root."""
    words = prefix()
    if words is None:
        raise UsageError(f"This needs root; run `{' '.join(command)}` as root, then run ./lab again.")
    return subprocess.run(
        [*words, *command],
        check=False,
        text=True,
        capture_output=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )


def is_debian_like() -> bool:
    """True on Debian, Ubuntu and related systems."""
    return shutil.which("apt-get") is not None and Path("/etc/debian_version").exists()


def apt_install(packages: Sequence[str], screen: Screen) -> None:
    """Install packages without recommendations; raises UsageError with the command where it cannot."""
    names = " ".join(packages)
    manual = f"apt-get update && apt-get install --no-install-recommends {names}"
    if prefix() is None:
        raise UsageError(f"{names} must be installed first; run `{manual}` as root, then run ./lab again.")
    with screen.step(f"install {names}") as step:
        step.update("apt-get update")
        update = run(["apt-get", "update", "-q"])
        step.update("apt-get install")
        install = run([*_APT_INSTALL, *_APT_OPTIONS, *packages])
        if install.returncode != 0:
            words = (update.stderr + install.stderr).strip().splitlines()
            cause = next((line for line in words if line.startswith("E:")), (words or ["no message"])[-1])
            if registry_unreachable("\n".join(words)):
                cause = f"the package registry could not be reached ({cause})"
            raise UsageError(
                f"Installing {names} failed: {cause}; correct that or run `{manual}`, then ./lab up again."
            )
        step.result = "with apt-get"

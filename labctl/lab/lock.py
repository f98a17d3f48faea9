"""One change at a time for each lab, by a lock that ends with the process that holds it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from labctl.errors import UsageError
from labctl.lab.files import make_private, remove_state
from labctl.paths import LabPaths


@contextmanager
def exclusive(paths: LabPaths, what: str, *, wait: bool = False) -> Iterator[None]:
    """Hold the lab's lock; raises UsageError when another command holds it, unless `wait` is set."""
    descriptor = _acquire(paths, wait=wait)
    try:
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {what}\n".encode(), 0)
        # A password lookup of Ansible that was killed leaves its lock, which stops every later run, and an
        # empty file, which counts as a password.
        for file in paths.secrets.iterdir() if paths.secrets.is_dir() else ():
            if file.suffix == ".ansible_lockfile" or file.stat().st_size == 0:
                file.unlink(missing_ok=True)
        yield
    finally:
        if paths.state.is_dir() and [file.name for file in paths.state.iterdir()] == ["lock"]:
            remove_state(paths)  # a command that was refused leaves no folder behind
        os.close(descriptor)


def _acquire(paths: LabPaths, *, wait: bool) -> int:
    file = paths.state / "lock"
    while True:
        make_private(paths.base)
        make_private(paths.state)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").split()
            os.close(descriptor)
            by = f"`./lab {holder[1]}` (process {holder[0]})" if len(holder) >= 2 else "another ./lab"
            raise UsageError(
                f"{by} is working on lab {paths.name}; wait until it is done, then try again."
            ) from None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), file.stat()):
                return descriptor
        os.close(descriptor)  # `down` removed the file with the lab while this command waited

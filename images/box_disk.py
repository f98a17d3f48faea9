"""Write the parts of a box's disk for which other programs need root: boot sector, file capabilities.

    box_disk.py boot DISK BOOT_IMG CORE_IMG     writes the partition table and, before the partition, GRUB
    box_disk.py capabilities TREE.tar FOLDER    prints the debugfs commands that set the capabilities

Standard library only: it runs with the host's Python (3.9 or newer).
"""

from __future__ import annotations

import struct
import sys
import tarfile
from pathlib import Path

SECTOR = 512
FIRST_SECTOR = 2048  # start of the only partition; build-box writes the file system at this offset
BOOT_CODE = 440  # bytes of a boot sector before the disk's signature
SIGNATURE = 0x4C414221
LINUX = 0x83
CAPABILITY = "SCHILY.xattr.security.capability"


def write_boot(disk: Path, boot: Path, core: Path) -> None:
    """Write boot code, a table with one active Linux partition up to the disk's end, and GRUB's core."""
    code, image = boot.read_bytes()[:BOOT_CODE], core.read_bytes()
    if len(image) > (FIRST_SECTOR - 1) * SECTOR:
        raise SystemExit(f"{core} is {len(image)} bytes and must fit before sector {FIRST_SECTOR}.")
    sectors = disk.stat().st_size // SECTOR - FIRST_SECTOR
    no_geometry = b"\xfe\xff\xff"  # beyond 8 GB, LBA replaces cylinders, heads and sectors
    entry = b"\x80" + no_geometry + bytes([LINUX]) + no_geometry + struct.pack("<II", FIRST_SECTOR, sectors)
    table = struct.pack("<IH", SIGNATURE, 0) + entry + bytes(48) + b"\x55\xaa"
    with disk.open("r+b") as file:
        file.write(code.ljust(BOOT_CODE, b"\0") + table + image)


def capabilities(tree: Path, folder: Path) -> list[str]:
    """debugfs commands that set the capability of each file, which they read from files in the folder."""
    commands: list[str] = []
    with tarfile.open(tree) as archive:
        for member in archive:
            value = member.pax_headers.get(CAPABILITY)
            if value is not None:
                source = folder / str(len(commands))
                source.write_bytes(value.encode("utf-8", "surrogateescape"))
                name = "/" + member.name.removeprefix("./")
                commands.append(f"ea_set -f {source} {name} security.capability")
    return commands


def main() -> None:
    """Run the action of the first argument."""
    action, *names = sys.argv[1:]
    files = [Path(name) for name in names]
    if action == "boot":
        write_boot(*files)
    elif action == "capabilities":
        print("\n".join(capabilities(*files)))
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()

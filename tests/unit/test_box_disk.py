"""What a box's disk gets without root: a boot sector, and the file capabilities that mke2fs leaves out."""

from __future__ import annotations

import importlib.util
import struct
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

from labctl.paths import ROOT

NET_RAW = b"\x01\x00\x00\x02\x00\x20" + bytes(14)


@pytest.fixture
def box_disk() -> ModuleType:
    """images/box_disk.py, which is a program outside the package."""
    spec = importlib.util.spec_from_file_location("box_disk", ROOT / "images" / "box_disk.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["box_disk"] = module
    spec.loader.exec_module(module)
    return module


def test_capabilities_are_restored_byte_for_byte(box_disk: ModuleType, tmp_path: Path) -> None:
    tree, folder = tmp_path / "tree.tar", tmp_path / "values"
    folder.mkdir()
    with tarfile.open(tree, "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("./usr/bin/cat"))
        ping = tarfile.TarInfo("./usr/bin/ping")
        ping.pax_headers = {box_disk.CAPABILITY: NET_RAW.decode("utf-8", "surrogateescape")}
        archive.addfile(ping)
    (command,) = box_disk.capabilities(tree, folder)
    assert command == f"ea_set -f {folder / '0'} /usr/bin/ping security.capability"
    assert (folder / "0").read_bytes() == NET_RAW


def test_boot_sector_has_one_active_partition_up_to_the_end(box_disk: ModuleType, tmp_path: Path) -> None:
    disk, boot, core = (tmp_path / name for name in ("disk", "boot.img", "core.img"))
    sectors = 8192
    disk.write_bytes(bytes(sectors * box_disk.SECTOR))
    boot.write_bytes(b"B" * 512)
    core.write_bytes(b"C" * 1000)
    box_disk.write_boot(disk, boot, core)
    written = disk.read_bytes()
    assert len(written) == sectors * box_disk.SECTOR
    assert written[:440] == b"B" * 440
    assert written[510:512] == b"\x55\xaa"
    assert (written[446], written[450]) == (0x80, box_disk.LINUX)
    assert struct.unpack("<II", written[454:462]) == (box_disk.FIRST_SECTOR, sectors - box_disk.FIRST_SECTOR)
    assert written[512:1512] == b"C" * 1000


def test_a_boot_loader_that_would_reach_into_the_partition_is_refused(
    box_disk: ModuleType, tmp_path: Path
) -> None:
    disk, boot, core = (tmp_path / name for name in ("disk", "boot.img", "core.img"))
    for file in (disk, boot):
        file.write_bytes(bytes(1024))
    core.write_bytes(bytes(box_disk.FIRST_SECTOR * box_disk.SECTOR))
    with pytest.raises(SystemExit, match="must fit before sector"):
        box_disk.write_boot(disk, boot, core)

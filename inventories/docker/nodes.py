#!/usr/bin/env python3
"""Script inventory of Docker: the hosts of inventories/topology.yml as containers of the lab LAB_NAME."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV_PYTHON = ROOT / ".venv" / "bin" / "python"

try:
    import yaml  # noqa: F401 - labctl.topology needs it, and the system's python3 may lack it
except ModuleNotFoundError:
    if Path(sys.prefix) == VENV_PYTHON.parents[1] or not VENV_PYTHON.exists():
        sys.exit("PyYAML is missing; run ./lab once, which installs it in .venv.")
    os.execv(VENV_PYTHON, [str(VENV_PYTHON), __file__, *sys.argv[1:]])  # noqa: S606 - no shell is wanted

sys.path.insert(0, str(ROOT))

from labctl.errors import LabError  # noqa: E402 - the path above makes it importable
from labctl.lab.inventory import inventory  # noqa: E402
from labctl.lab.state import current_topology  # noqa: E402
from labctl.paths import lab_paths  # noqa: E402


def main() -> None:
    """Print the inventory; Ansible calls it with --list, and with --host only when _meta is missing."""
    try:
        paths = lab_paths()
        content = inventory(paths, current_topology(paths))
    except LabError as error:
        sys.exit(str(error))
    if len(sys.argv) == 3 and sys.argv[1] == "--host":
        content = content["_meta"]["hostvars"].get(sys.argv[2], {})
    print(json.dumps(content, indent=2))


if __name__ == "__main__":
    main()

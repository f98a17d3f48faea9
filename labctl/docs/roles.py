"""README.md of each role and docs/reference/inventory.md, from the roles' argument specs and site.yml."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from labctl.docs.markdown import names, table
from labctl.docs.reference import load
from labctl.paths import ROOT

NAMES = sorted(file.parents[1].name for file in ROOT.glob("roles/*/meta/argument_specs.yml"))


def spec(role: str) -> dict[str, Any]:
    """What meta/argument_specs.yml of a role says of it: short_description, description, options."""
    return dict(load(ROOT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]["main"])


def variables(role: str) -> str:
    """The table of a role's variables."""
    rows = table(("variable", "type", "default", "what it is"), _rows(spec(role)["options"]))
    return f"## Variables\n\n{rows}"


def _rows(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, ...]]:
    for name, option in options.items():
        kind = option.get("type", "str")
        elements = f" of {option['elements']}" if "elements" in option else ""
        default = "required" if option.get("required") else "-"
        default = f"`{json.dumps(option['default'])}`" if "default" in option else default
        secret = " (secret)" if option.get("no_log") else ""
        yield f"`{prefix}{name}`", kind + elements, default, option["description"] + secret
        yield from _rows(option.get("options", {}), f"{prefix}{name}{'[]' if elements else ''}.")


def inventory() -> str:
    """Which roles the hosts of a group get, and what each role must be given."""
    plays = load(ROOT / "playbooks" / "site.yml")
    carried = {role: play["hosts"].split(":") for play in plays for role in play.get("roles", [])}
    groups: dict[str, list[str]] = {}
    by_role = []
    for role, hosts in carried.items():
        for group in hosts:
            groups.setdefault(f"`{group}`", []).append(role)
        required = [name for name, option in spec(role)["options"].items() if option.get("required")]
        link = f"[`{role}`](../../roles/{role}/README.md)"
        by_role.append((link, spec(role)["short_description"], names(hosts), names(required)))
    by_group = [(group, names(found)) for group, found in groups.items()]
    return f"""## Groups

{table(("group", "roles, in this order"), by_group)}

## Roles

{table(("role", "what it is for", "groups", "required variables"), by_role)}"""

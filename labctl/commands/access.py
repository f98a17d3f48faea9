"""open and shell: how a person reaches the lab."""

import json
import os
import re
import sys
from pathlib import Path

from labctl.console_api import USER, published
from labctl.context import Context

APPLICATION = "mosaic"  # its name is also that of its vhost
# Commands of rabbitmqctl that show one vhost, "/" without an option; a lab has no vhost of that name.
_LISTS_A_VHOST = re.compile(
    "list_(bindings|consumers|exchanges|operator_policies|parameters|permissions|policies|queues"
    "|topic_permissions|unresponsive_queues)"
)


def open_console(context: Context, *, browser: bool) -> int:
    """Print the console's address, user and password."""
    url = published(context.substrate.url())
    secret = context.substrate.console_password()
    if context.screen.json:
        found = {"url": url, "user": USER, "password": secret, "ca": str(context.paths.ca)}
        print(json.dumps(found, indent=2))
    else:
        context.screen.say(f"{url}\nuser      {USER}\npassword  {secret}\nCA        {context.paths.ca}")
    if browser:
        import webbrowser

        webbrowser.open(url)
    return 0


def shell(context: Context, node: str, command: list[str]) -> int:
    """Replace this process by a shell, or a command, on a node."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    wanted = with_vhost(command)
    if wanted != command:
        context.screen.note(f"vhost {APPLICATION}; -p NAME chooses another one of rabbitmqctl list_vhosts")
    words = context.substrate.shell(node, wanted, terminal=terminal)
    os.execvp(words[0], words)  # noqa: S606 - no shell is wanted


def with_vhost(command: list[str]) -> list[str]:
    """The command, with the application's vhost where it lists a vhost and names none."""
    options = {word.partition("=")[0] for word in command}
    rabbitmqctl = bool(command) and Path(command[0]).name == "rabbitmqctl"
    named = not options.isdisjoint(("-p", "--vhost", "--help"))
    if rabbitmqctl and not named and any(map(_LISTS_A_VHOST.fullmatch, command)):
        return [*command, "--vhost", APPLICATION]
    return command

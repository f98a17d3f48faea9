"""Makes an application durable without a change to its code.

    CELERY_DURABLE_APP=shop.celery:app celery -A celery_durable.wrap worker

The variable has the name of the application, in the form of `celery -A`. Set it for producers and beat too:
`celery -A celery_durable.wrap call`, and `app` imported from this module, have the same settings. If the
variable is wrong, the program ends with one sentence. An error in the application's own code is raised.

With Celery before 5.7, results in a database stay as Celery stores them, pickled; `make_durable` alone
refuses this.

To show what a setting prevents, CELERY_DURABLE_WITHOUT=task_acks_late leaves it out; with commas, several.
"""

from __future__ import annotations

import os
import re
from typing import NoReturn

from celery import VERSION, Celery
from celery.app.utils import find_app
from celery.utils.imports import import_from_cwd

from celery_durable.durable import make_durable
from celery_durable.settings import SETTINGS

VARIABLE = "CELERY_DURABLE_APP"
WITHOUT = "CELERY_DURABLE_WITHOUT"


def _refuse(reason: str) -> NoReturn:
    # Not an Exception: Celery's command would print a traceback with it.
    raise SystemExit(f"{VARIABLE} {reason}; set it as for celery -A, for example {VARIABLE}=shop.celery:app.")


def load(name: str) -> Celery:
    """Import the application of this name and make it durable. Raises SystemExit if there is none."""
    if not re.fullmatch(r"\w+(\.\w+)*(:\w+)?", name):
        _refuse(f"is {name!r}" if name else "is not set")
    module = name.partition(":")[0]
    try:
        import_from_cwd(module)  # first: an error below is not from the application's code
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise
    try:
        found = find_app(name)
    except (AttributeError, ModuleNotFoundError) as error:
        _refuse(f"names {name}, where there is no Celery application ({error})")
    if not isinstance(found, Celery):
        _refuse(f"names {name}, which is not a Celery application")
    backends = found.loader.override_backends
    durable = make_durable(found, without=_left_out(os.environ.get(WITHOUT, "")))
    if VERSION < (5, 7):
        durable.loader.override_backends = backends
    return durable


def _left_out(names: str) -> list[str]:
    found = [name.strip() for name in names.split(",") if name.strip()]
    known = {setting.name for setting in SETTINGS}
    if unknown := [name for name in found if name not in known]:
        raise SystemExit(f"{WITHOUT} names {unknown[0]}, which is not one of the settings of celery_durable.")
    return found


app = load(os.environ.get(VARIABLE, ""))

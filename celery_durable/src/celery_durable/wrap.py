"""An application made durable from outside, without a change to its code.

    CELERY_DURABLE_APP=shop.celery:app celery -A celery_durable.wrap worker

The variable names the application as `celery -A` takes it. Set it for producers and beat too: what they
publish with `celery -A celery_durable.wrap call`, or import from here, has the same settings. A wrong
variable ends the program with one sentence; an error of the application's own code is passed on.
"""

from __future__ import annotations

import os
import re
from typing import NoReturn

from celery import Celery
from celery.app.utils import find_app
from celery.utils.imports import import_from_cwd

from celery_durable.durable import make_durable

VARIABLE = "CELERY_DURABLE_APP"


def _refuse(reason: str) -> NoReturn:
    # Not an Exception: Celery's command would print a traceback with it.
    raise SystemExit(f"{VARIABLE} {reason}; set it as for celery -A, for example {VARIABLE}=shop.celery:app.")


def load(name: str) -> Celery:
    """Return the application of that name, durable. Raises SystemExit when there is none of that name."""
    if not re.fullmatch(r"\w+(\.\w+)*(:\w+)?", name):
        _refuse(f"is {name!r}" if name else "is not set")
    module = name.partition(":")[0]
    try:
        import_from_cwd(module)  # first, so that an error below is not one of the application's code
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise
    try:
        found = find_app(name)
    except (AttributeError, ModuleNotFoundError) as error:
        _refuse(f"names {name}, where there is no Celery application ({error})")
    if not isinstance(found, Celery):
        _refuse(f"names {name}, which is no Celery application")
    return make_durable(found)


app = load(os.environ.get(VARIABLE, ""))

"""Write every generated page anew: `.venv/bin/python -m labctl.docs`, with .venv as `./lab test` makes it."""

import sys

from labctl.docs.pages import PAGES, complete
from labctl.paths import ROOT

sys.path[:0] = [str(ROOT / "app" / "src"), str(ROOT / "celery_durable" / "src")]
for path in PAGES:
    (ROOT / path).write_text(complete(path), encoding="utf-8")

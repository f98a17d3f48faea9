"""What the rest of the application knows of a kind of job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDER = Path(__file__).parent

#: Bytes of a job: index, content, and the host that did the part.
JobBlob = tuple[int, bytes, str | None]
#: Colours by host: red, green, blue.
Tints = Mapping[str, tuple[int, int, int]]


class RequestError(ValueError):
    """A request for a job that is refused with an HTTP status and one sentence."""

    def __init__(self, sentence: str, status: int = 422) -> None:
        """Refuse with `sentence`."""
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Kind:
    """A kind of job: the folder `mosaic/kinds/<name>`, named in the registry beside this module.

    The folder holds, imported only by those who need it, as it may be expensive:

    - `plan.py`: `plan` is a FastAPI dependency of POST /api/jobs/<name>. It takes from the request what it
      declares and returns a JobPlan, or raises RequestError.
    - `task.py`: the Celery tasks, named `mosaic.<name>.*`.
    - `form.html`: a form of the Jobs page; `result.html`, if any: the page of a job (extends `job.html`).
    - `static/`: what browsers load; `form.js` and `result.js`, if any, belong to those two.

    `summary` is one sentence for the API's schema. Tasks go to the queue `mosaic.<routing_key>`. Those of
    minutes go to `mosaic.long`, whose workers do nothing else: see mosaic.tasks.base.LongPartTask.
    `form_values` are for `form.html`. A job has a result when a part joins the others; `has_result` says so.

    With `picture`, a module of the folder, a job has a picture, made from its blobs of `picture_role`:

    - `picture(params, blobs, tints)` returns a PNG, or None while there is none;
    - `thumbnail(params, blobs, edge)` returns a PNG within `edge` pixels, or None;

    where `blobs` are JobBlobs and `tints` Tints, or None. `caption` is shown below the thumbnail: `{key}`
    stands for a value of the job's parameters.
    """

    name: str
    summary: str
    routing_key: str
    has_result: bool = True
    picture: str = ""
    picture_role: str = ""
    caption: str = ""
    form_values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def queue(self) -> str:
        """The queue of its tasks."""
        return f"mosaic.{self.routing_key}"

    @property
    def task_module(self) -> str:
        """The module of its tasks."""
        return f"mosaic.kinds.{self.name}.task"

    @property
    def static(self) -> Path:
        """The folder of what browsers load; it may be absent."""
        return FOLDER / self.name / "static"

    def load(self, module: str) -> ModuleType:
        """Import and return a module of the folder."""
        return import_module(f"mosaic.kinds.{self.name}.{module}")

    def template(self, page: str) -> str:
        """Return the name of the template of `page`, form or result; empty: there is none."""
        return f"{self.name}/{page}.html" if (FOLDER / self.name / f"{page}.html").exists() else ""

    def script(self, page: str) -> str:
        """Return the address of the script of `page`, form or result; empty: there is none."""
        return f"/static/kinds/{self.name}/{page}.js" if (self.static / f"{page}.js").exists() else ""

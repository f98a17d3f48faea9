"""The description of a kind of job for the rest of the application."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDER = Path(__file__).parent
# Memory that one task may need beside what its process needs without a task. A form refuses input that needs
# more. The worker's unit has this memory for each of its pool processes: memory_mb in playbooks/group_vars.
TASK_BYTES = 256 * 2**20

#: Bytes of a job: index, content, host that did the part.
JobBlob = tuple[int, bytes, str | None]
#: Colour (red, green, blue) by host.
Tints = Mapping[str, tuple[int, int, int]]


class RequestError(ValueError):
    """Refuses the request for a job with an HTTP status and one sentence."""

    def __init__(self, sentence: str, status: int = 422) -> None:
        """Refuse with `sentence`."""
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Kind:
    """A kind of job: the folder `mosaic/kinds/<name>`, named in the registry beside this module.

    The folder contains these files. Python modules are imported only where needed, as their imports are slow.

    - `plan.py`: `plan` is a FastAPI dependency of POST /api/jobs/<name>. Its parameters declare
      what it needs of the request. It returns a JobPlan, or raises RequestError.
    - `task.py`: the Celery tasks, named `mosaic.<name>.*`.
    - `form.html`: the form on the Jobs page; `result.html` (optional): the page of a job (extends
      `job.html`).
    - `static/`: files for browsers; `form.js` and `result.js` (optional) belong to these two pages.

    `summary` is one sentence for the API's schema. The tasks go to the queue `mosaic.<routing_key>`. Tasks of
    several minutes go to `mosaic.long`, which has workers of its own: see mosaic.tasks.base.LongPartTask.
    `form_values` are for `form.html`. `has_result` is true if one part joins the others and its result is the
    job's result. `uploads` is true if the body may have up to max_body_mb; otherwise it is short JSON.

    `picture` names a module of the folder that makes a job's picture from its blobs of `picture_role`:

    - `picture(params, blobs, tints)` returns a PNG, or None if there is none yet;
    - `thumbnail(params, blobs, edge)` returns a PNG within `edge` pixels, or None.

    `blobs` are JobBlobs, `tints` Tints or None. `caption` is shown below the thumbnail; `{key}` is replaced
    by a parameter of the job.
    """

    name: str
    summary: str
    routing_key: str
    has_result: bool = True
    uploads: bool = False
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
        """The folder of files for browsers; it is optional."""
        return FOLDER / self.name / "static"

    def load(self, module: str) -> ModuleType:
        """Import and return a module of the folder."""
        return import_module(f"mosaic.kinds.{self.name}.{module}")

    def template(self, page: str) -> str:
        """Return the name of the template of `page` (form or result); empty if there is none."""
        return f"{self.name}/{page}.html" if (FOLDER / self.name / f"{page}.html").exists() else ""

    def script(self, page: str) -> str:
        """Return the address of the script of `page` (form or result); empty if there is none."""
        return f"/static/kinds/{self.name}/{page}.js" if (self.static / f"{page}.js").exists() else ""

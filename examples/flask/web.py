"""A page that submits a text, and shows the result when a worker has it."""

from __future__ import annotations

from flask import Flask, redirect, render_template_string, request, url_for
from jobs import app as celery
from jobs import count, report
from werkzeug.wrappers import Response

app = Flask(__name__)

FORM = """<!doctype html><title>Words</title>
<form method="post">
  <textarea name="text" required></textarea>
  <button>Count words</button> <button name="slow" value="1">Write a report (2 s)</button>
</form>"""
RESULT = """<!doctype html><title>Words</title>
{% if not ended %}<meta http-equiv="refresh" content="1">{% endif %}
<p>{{ state }}</p><pre>{{ value }}</pre><a href="/">Again</a>"""


@app.get("/")
def form() -> str:
    """Show the form."""
    return FORM


@app.post("/")
def submit() -> Response:
    """Publish the task, and go to the page of its result."""
    task = report if "slow" in request.form else count
    return redirect(url_for("result", key=task.delay(request.form["text"]).id))


@app.get("/results/<uuid:key>")
def result(key: object) -> str:
    """Show the state, and the result as soon as it exists; the page reloads itself until then."""
    found = celery.AsyncResult(str(key))
    return render_template_string(
        RESULT, ended=found.ready(), state=found.state, value=found.result if found.ready() else ""
    )

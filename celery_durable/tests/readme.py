"""The README's table of settings, from the code. As a program: writes it."""

from __future__ import annotations

from pathlib import Path

from celery_durable.settings import PUBLISH_RETRY_POLICY, SETTINGS, Setting

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- settings: begin -->\n", "<!-- settings: end -->\n"


def with_table(text: str) -> str:
    """Return the README with the table as it is to be."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + "\n" + "\n".join(table()) + "\n\n" + END + after


def table() -> list[str]:
    """Lines of the table."""
    rows = [f"| {name(setting)} | {setting.why} | {setting.without} |" for setting in SETTINGS]
    return ["| setting | why | what happens without it |", "| --- | --- | --- |", *rows]


def name(setting: Setting) -> str:
    """The setting with its value, where that is short."""
    value = setting.value
    short = not callable(value) and value is not PUBLISH_RETRY_POLICY
    return f"`{setting.name} = {value!r}`" if short else f"`{setting.name}`"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")

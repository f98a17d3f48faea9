"""The little Markdown that the generated pages need."""

from collections.abc import Iterable, Sequence


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; a cell may hold any text, of which line ends become spaces."""
    lines = [titles, ["---"] * len(titles), *rows]
    cells = [[" ".join(str(cell).split()).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def names(values: Iterable[object]) -> str:
    """Several names as code, separated by commas; "-" for none."""
    return ", ".join(f"`{value}`" for value in values) or "-"

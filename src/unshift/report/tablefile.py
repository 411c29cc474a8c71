"""Tables as files: CSV for programs, Markdown for notes, LaTeX (booktabs) for papers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from unshift.report.grid import Cell, Row, Table
from unshift.report.number import MINUS

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    MINUS: "$-$",
    "–": "--",
    "±": r"$\pm$",
}


def write_tables(folder: Path, tables: list[Table], *, replayed: Sequence[str] = ()) -> list[Path]:
    """Write ``<name>.csv``, ``.md`` and ``.tex`` of each table into ``folder``; returns the files.

    ``replayed`` are the sentences of a replayed protocol, a column of every CSV; captions have them already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for table in tables:
        for suffix, text in (
            (".csv", as_csv(table, replayed=replayed)),
            (".md", as_markdown(table)),
            (".tex", as_latex(table)),
        ):
            written.append(replace_text(folder / f"{table.name}{suffix}", text))
    return written


def replace_text(path: Path, text: str) -> Path:
    """Write to a temporary name, then rename, so that no reader meets half a file."""
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(text, encoding="utf-8", newline="\n")
    return temporary.replace(path)


def as_csv(table: Table, *, replayed: Sequence[str] = ()) -> str:
    """The table's frame: one row a number, full precision, values in their own scale.

    A column marks the oracle, another one says what of a published protocol was replayed.
    """
    frame = table.frame.assign(oracle=True) if table.is_oracle else table.frame
    frame = frame.assign(replay=" ".join(replayed)) if replayed else frame
    return frame.to_csv(index=False, lineterminator="\n")


def as_markdown(table: Table) -> str:
    """A pipe table under its title, over its caption."""
    head = [_escape_markdown(table.corner), *[_escape_markdown(_label(c.label, c.group)) for c in table.columns]]
    lines = [f"### {_escape_markdown(table.title)}", "", _piped(head), _piped(["---", *["---:"] * len(table.columns)])]
    for group, rows in table.bodies:
        if group:
            lines.append(_piped([f"*{_escape_markdown(group)}*", *[""] * len(table.columns)]))
        lines += [_piped([_escape_markdown(row.head), *map(_markdown_cell, row.cells)]) for row in rows]
    return "\n".join([*lines, "", _escape_markdown(table.caption), ""])


def as_latex(table: Table) -> str:
    r"""A ``table`` environment with booktabs rules; needs ``\usepackage{booktabs}``."""
    width = len(table.columns) + 1
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(table.caption)}}}",
        rf"\label{{tab:{table.name}}}",
    ]
    lines += [rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}", r"\toprule"]
    if any(group for group, _ in table.groups):
        lines += _group_lines(table)
    lines += [" & ".join(map(escape_latex, [table.corner, *[c.label for c in table.columns]])) + r" \\", r"\midrule"]
    for place, (group, rows) in enumerate(table.bodies):
        if group:
            lines += [r"\addlinespace"] if place else []
            lines.append(rf"\multicolumn{{{width}}}{{l}}{{\textit{{{escape_latex(group)}}}}} \\")
        lines += [_latex_row(row) for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it stands."""
    return "".join(_LATEX.get(character, character) for character in text.replace("\n", " "))


def _group_lines(table: Table) -> list[str]:
    cells, rules, start = [""], [], 2
    for group, width in table.groups:
        cells.append(rf"\multicolumn{{{width}}}{{c}}{{{escape_latex(group)}}}")
        rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
        start += width
    return [" & ".join(cells) + r" \\", " ".join(rules)]


def _latex_row(row: Row) -> str:
    return " & ".join([escape_latex(row.head), *map(_latex_cell, row.cells)]) + r" \\"


def _latex_cell(cell: Cell) -> str:
    text = escape_latex(cell.text)
    text = rf"\textbf{{{text}}}" if cell.is_bold else text
    return text + (rf" {{\footnotesize ({escape_latex('; '.join(cell.details))})}}" if cell.details else "")


def _markdown_cell(cell: Cell) -> str:
    text = _escape_markdown(cell.text)
    text = f"**{text}**" if cell.is_bold else text
    return text + (f" ({_escape_markdown('; '.join(cell.details))})" if cell.details else "")


def _escape_markdown(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", text.replace("\n", " "))


def _label(label: str, group: str) -> str:
    return f"{label} ({group})" if group else label


def _piped(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"

"""What pages are built of besides text and tables: numbers in large type, questions, charts, pictures, matrices."""

import base64
from collections.abc import Sequence
from typing import Literal

from anyfw.report.html import escaped

Tone = Literal["good", "bad", ""]


def cards(items: Sequence[tuple[str, str, str, Tone]]) -> str:
    """(what, number, remark, tone), the numbers in large type."""
    shown = (
        f'<div class="{tone}"><span>{escaped(what)}</span><b>{escaped(number)}</b><span>{escaped(remark)}</span></div>'
        for what, number, remark, tone in items
    )
    return f'<div class="cards">{"".join(shown)}</div>'


def questions(pairs: Sequence[tuple[str, str, str]]) -> str:
    """(question, answer, reason), one below the other."""
    shown = (
        f"<dt>{escaped(question)}</dt><dd><b>{escaped(answer)}</b> {escaped(reason)}</dd>"
        for question, answer, reason in pairs
    )
    return f"<dl>{''.join(shown)}</dl>"


def charts(drawings: Sequence[str], caption: str = "") -> str:
    """SVG elements side by side where there is room."""
    shown = "".join(f"<figure>{drawing}</figure>" for drawing in drawings)
    below = f'<p class="note">{escaped(caption)}</p>' if caption else ""
    return f'<div class="charts">{shown}</div>{below}'


def gallery(pictures: Sequence[tuple[bytes, str, str]]) -> str:
    """(PNG, what it shows, caption) of many small pictures."""
    shown = (
        f'<figure><img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{escaped(alt)}">'
        f"<figcaption>{escaped(caption)}</figcaption></figure>"
        for png, alt, caption in pictures
    )
    return f'<div class="gallery">{"".join(shown)}</div>'


def matrix(counts: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """A confusion matrix: true classes by rows, predicted ones by columns; what is right blue, what is wrong red."""
    head = "".join(f"<th>{escaped(name)}</th>" for name in names)
    lines = [f'<div class="wide"><table class="matrix"><thead><tr><th>true \\ predicted</th>{head}</tr></thead><tbody>']
    for i, (name, row) in enumerate(zip(names, counts, strict=True)):
        total = max(sum(row), 1)
        cells = "".join(_shaded(count, count / total, right=i == j) for j, count in enumerate(row))
        lines.append(f"<tr><th>{escaped(name)}</th>{cells}</tr>")
    return "".join([*lines, "</tbody></table></div>"])


def _shaded(count: int, share: float, *, right: bool) -> str:
    if not count:
        return "<td></td>"
    # Mistakes are few: the root makes one in a hundred visible beside the rest.
    strength = 0.08 + (0.34 * share if right else 0.6 * share**0.5)
    colour = "0, 114, 178" if right else "213, 94, 0"
    return f'<td style="background: rgba({colour}, {strength:.2f})">{count:,}</td>'

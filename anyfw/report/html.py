"""Web pages of one file: no network, no scripts, all text escaped; readable on a phone, light and dark."""

import base64
import html
import math
import re
import struct
from collections.abc import Sequence
from os import PathLike
from typing import Any, Self

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2733; --faint: #667080; --line: #dfe3e9; --paper: #ffffff;
  --tint: #f5f7fa; --accent: #0063a0; --blue: #0072b2; --red: #d55e00; --good: #0b7a53; --bad: #b3382c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --faint: #9aa5b4; --line: #343c48; --paper: #14181e;
  --tint: #1d232c; --accent: #6cb8ec; --blue: #58b0e8; --red: #f0883a; --good: #4cc38a; --bad: #f2766a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.1rem 4rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  overflow-wrap: break-word; }
h1, h2, h3, h4 { line-height: 1.25; margin: 2.2em 0 .6em; letter-spacing: -.01em; }
h1 { font-size: 1.9rem; margin-top: 0; }
h2 { font-size: 1.35rem; padding-top: .9em; border-top: 1px solid var(--line); }
h3 { font-size: 1.08rem; }
p { margin: .7em 0; max-width: 44rem; }
nav { margin: 1.2rem 0; padding: .7rem 1rem; background: var(--tint); border-radius: .6rem; font-size: .93rem; }
nav a { color: var(--accent); text-decoration: none; display: inline-block; margin: .1rem 1.1rem .1rem 0; }
nav a:hover { text-decoration: underline; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .9rem .4rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { color: var(--faint); font-weight: 600; white-space: nowrap; }
.number { text-align: right; }
figure { margin: 1.3rem 0; }
img { max-width: 100%; height: auto; display: block; background: #fff; border: 1px solid var(--line);
  border-radius: .6rem; padding: .5rem; }
figcaption { color: var(--faint); font-size: .9rem; margin-top: .45rem; max-width: 44rem; }
p.note { color: var(--faint); font-size: .9rem; }
pre { overflow-x: auto; background: var(--tint); border: 1px solid var(--line); border-radius: .6rem;
  padding: .8rem 1rem; font: .85rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .8rem; margin: 1.4rem 0; }
.cards div { background: var(--tint); border: 1px solid var(--line); border-radius: .6rem; padding: .7rem .9rem; }
.cards span { display: block; color: var(--faint); font-size: .85rem; line-height: 1.35; }
.cards b { display: block; font-size: 1.55rem; line-height: 1.3; letter-spacing: -.02em; }
.cards .good b { color: var(--good); } .cards .bad b { color: var(--bad); }
dl { margin: 1.2rem 0; display: grid; grid-template-columns: minmax(9rem, 13rem) 1fr; gap: .8rem 1.4rem; }
dt { font-weight: 600; } dd { margin: 0; max-width: 44rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1.2rem 1.8rem;
  margin: 1.2rem 0; } .charts figure { margin: 0; }
svg { width: 100%; height: auto; display: block; }
svg text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; fill: var(--faint); }
svg .title { font-size: 14px; font-weight: 600; fill: var(--ink); } svg .ink { fill: var(--ink); }
svg .grid { stroke: var(--line); fill: none; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.2rem, 1fr)); gap: 1.1rem .9rem;
  margin: 1.2rem 0; } .gallery figure { margin: 0; } .gallery img { width: 100%; padding: 0;
  image-rendering: pixelated; } .gallery figcaption { font-size: .82rem; line-height: 1.4; margin-top: .35rem; }
.matrix td, .matrix th { text-align: center; padding: .3rem .45rem; border: 1px solid var(--line); min-width: 2.2rem; }
@media (max-width: 40rem) { dl { display: block; } dd { margin: .2rem 0 1rem; } }
@media (max-width: 40rem) { body { padding-top: 1.2rem; } h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; } }
@media print { body { max-width: none; } h2, h3 { break-after: avoid; } figure, tr { break-inside: avoid; } }
"""
# A page that somebody passes on stays harmless: the browser itself forbids scripts and anything from outside.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_PNG = b"\x89PNG\r\n\x1a\n"


class Page:
    """A page that grows by its methods, each of which returns it.

    Args:
        title: the heading, and what the browser's tab shows.

    >>> page = Page("Results").heading("Accuracy").table([["relu", 0.98217]], header=["activation", "test accuracy"])
    >>> "<td class=\\"number\\">0.9822</td>" in str(page)
    True
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._body: list[str] = []
        self._contents: list[tuple[str, str]] = []
        self._anchors: set[str] = set()

    def heading(self, text: str, level: int = 2) -> Self:
        """A heading; those of level 2 are listed at the top where there are several.

        Raises:
            ConfigError: a level other than 2, 3 or 4; the title is the only one of level 1.
        """
        if level not in (2, 3, 4):
            from anyfw.core.errors import ConfigError

            raise ConfigError(f"Page.heading: expected level 2, 3 or 4, got {level!r}.")
        anchor = self._anchor(text)
        if level == 2:
            self._contents.append((anchor, text))
        return self._add(f'<h{level} id="{anchor}">{escaped(text)}</h{level}>')

    def text(self, text: str) -> Self:
        """A paragraph; an empty line starts another one."""
        for paragraph in re.split(r"\n\s*\n", text.strip()):
            self._add(f"<p>{escaped(paragraph)}</p>")
        return self

    def table(self, rows: Sequence[Sequence[Any]], header: Sequence[Any] = ()) -> Self:
        """A table; numbers stand at the right, fractions with four digits, None as a dash."""
        lines = ['<div class="wide"><table>']
        if header:
            numeric = [_all_numbers(rows, i) for i in range(len(header))]
            cells = "".join(_cell("th", name, number) for name, number in zip(header, numeric, strict=True))
            lines.append(f"<thead><tr>{cells}</tr></thead>")
        lines.append("<tbody>")
        lines += ["<tr>" + "".join(_cell("td", value, _is_number(value)) for value in row) + "</tr>" for row in rows]
        lines.append("</tbody></table></div>")
        return self._add("\n".join(lines))

    def image(self, png: bytes, alt: str, caption: str = "") -> Self:
        """A picture, kept inside the page.

        Args:
            png: the bytes of a PNG file, as `plots.figure_png` gives them.
            alt: what it shows, for those who cannot see it.
            caption: a line under it.

        Raises:
            ConfigError: not the bytes of a PNG file.
        """
        if not bytes(png).startswith(_PNG):
            from anyfw.core.errors import ConfigError

            raise ConfigError(f"Page.image: expected the bytes of a PNG file, got {bytes(png[:8])!r}.")
        data = base64.b64encode(png).decode()
        below = f"<figcaption>{escaped(caption)}</figcaption>" if caption else ""
        source = f'<img src="data:image/png;base64,{data}" alt="{escaped(alt)}"{_size(bytes(png))}>'
        return self._add(f"<figure>{source}{below}</figure>")

    def code(self, text: str) -> Self:
        """Text with its line breaks and spaces, in a fixed-width font."""
        return self._add(f"<pre><code>{escaped(text)}</code></pre>")

    def markup(self, markup: str) -> Self:
        """Markup as it is, of `blocks` and `svg`, which escape what users have named."""
        return self._add(markup)

    def write(self, path: str | PathLike[str]) -> None:
        """Write the page to a file: the whole of it, or nothing.

        Raises:
            OutputError: the file cannot be written.
        """
        from anyfw.core.atomic import write_atomic

        write_atomic(path, str(self).encode())

    def __str__(self) -> str:
        return self.render()

    def render(self, refresh: int | None = None) -> str:
        """The page as text.

        Args:
            refresh: seconds after which a browser loads it again by itself; None is never.
        """
        title = escaped(self.title)
        links = "\n".join(f'<a href="#{anchor}">{escaped(text)}</a>' for anchor, text in self._contents)
        contents = [f"<nav>{links}</nav>"] if len(self._contents) > 2 else []
        head = [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            *([] if refresh is None else [f'<meta http-equiv="refresh" content="{refresh}">']),
            f"<title>{title}</title>",
            f"<style>{_STYLE}</style>",
            "</head>",
            "<body>",
            f"<h1>{title}</h1>",
        ]
        return "\n".join([*head, *contents, *self._body, "</body>", "</html>", ""])

    def _add(self, markup: str) -> Self:
        self._body.append(markup)
        return self

    def _anchor(self, text: str) -> str:
        name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"
        anchor, n = name, 1
        while anchor in self._anchors:
            n += 1
            anchor = f"{name}-{n}"
        self._anchors.add(anchor)
        return anchor


def escaped(text: object) -> str:
    """Text as HTML and SVG may hold it, also between quotation marks."""
    # Characters that no HTML may hold, such as NUL, and halves of surrogate pairs, which UTF-8 cannot write.
    clean = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]", "\ufffd", str(text))
    return html.escape(clean, quote=True)


def _size(png: bytes) -> str:
    """Attributes for a size in CSS pixels, 96 to the inch, so that a finer picture is sharper and not larger."""
    head = png[: png.find(b"IDAT")]
    physical = head.find(b"pHYs")
    if physical < 0 or len(head) < physical + 12:
        return ""
    width, height, across, down = struct.unpack(">II", head[16:24]) + struct.unpack(">II", head[physical + 4 :][:8])
    metre = 96 / 0.0254
    return (
        f' width="{round(width * metre / across)}" height="{round(height * metre / down)}"' if across and down else ""
    )


def _is_number(value: object) -> bool:
    return (isinstance(value, int | float) and not isinstance(value, bool)) or value is None


def _all_numbers(rows: Sequence[Sequence[Any]], column: int) -> bool:
    return bool(rows) and all(column < len(row) and _is_number(row[column]) for row in rows)


def _cell(tag: str, value: object, number: bool) -> str:
    return f'<{tag} class="number">{_shown(value)}</{tag}>' if number else f"<{tag}>{_shown(value)}</{tag}>"


def _shown(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"
    return escaped(value)

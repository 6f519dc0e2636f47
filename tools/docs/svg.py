"""A small pen for pictures in SVG. Fonts are the reader's; the colours keep apart for colour-blind eyes, too."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

INK, PALE, PAPER = "#1f2933", "#52606d", "#ffffff"
BLUE, ORANGE, GREEN, RED, GREY = "#cfe3f7", "#fde2c4", "#d3efdc", "#f8d0d0", "#e4e7eb"
# one kind of bar on a timeline: its fill and its edge
EDGE = {BLUE: "#1c5fa8", ORANGE: "#b35c00", GREEN: "#1d7a43", RED: "#b42318", GREY: "#7b8794"}


class Picture:
    """Drawn from the top left, in pixels at the size at which text has 14."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self.parts: list[str] = []

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: int = 14,
        colour: str = INK,
        anchor: str = "start",
        bold: bool = False,
    ) -> None:
        """Lines are parted by newlines; y is the base line of the first."""
        weight = ' font-weight="600"' if bold else ""
        for number, line in enumerate(words.split("\n")):
            self.parts.append(
                f'<text x="{x:g}" y="{y + number * (size + 5):g}" font-size="{size}" fill="{colour}" '
                f'text-anchor="{anchor}"{weight}>{escape(line)}</text>'
            )

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        words: str = "",
        fill: str = BLUE,
        size: int = 14,
    ) -> None:
        edge = EDGE.get(fill, INK)
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5" fill="{fill}" '
            f'stroke="{edge}" stroke-width="1.2"/>'
        )
        if words:
            lines = words.count("\n")
            middle = y + height / 2 + size * 0.35 - lines * (size + 5) / 2
            self.text(x + width / 2, middle, words, size, anchor="middle")

    def line(
        self,
        points: Sequence[tuple[float, float]],
        colour: str = INK,
        arrow: bool = False,
        dashed: bool = False,
        width: float = 1.6,
    ) -> None:
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        more = ' marker-end="url(#tip)"' if arrow else ""
        more += ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}"{more}/>'
        )

    def arrow(
        self, x1: float, y1: float, x2: float, y2: float, words: str = "", dashed: bool = False
    ) -> None:
        self.line([(x1, y1), (x2, y2)], arrow=True, dashed=dashed)
        if words:
            self.text(
                (x1 + x2) / 2 + 6, (y1 + y2) / 2 - 5, words, 12, PALE, "middle" if y1 == y2 else "start"
            )

    def timeline(
        self,
        x: float,
        y: float,
        width: float,
        rows: Sequence[tuple[str, Sequence[tuple[float, float, str, str]]]],
        label: float = 90,
    ) -> float:
        """Rows of bars (begin, end, words, fill), times from 0 to 1; the y below it."""
        for name, bars in rows:
            self.text(x, y + 20, name, 13, bold=True)
            self.line([(x + label, y + 15), (x + width, y + 15)], "#cbd2d9", width=1)
            for begin, end, words, fill in bars:
                span = width - label
                self.box(x + label + begin * span, y, (end - begin) * span, 30, words, fill, 12)
            y += 42
        self.line([(x + label, y + 2), (x + width, y + 2)], PALE, arrow=True)
        self.text(x + width, y + 18, "time", 12, PALE, "end")
        return y + 34

    def svg(self) -> str:
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
            f'height="{self.height}" role="img" font-family="system-ui, sans-serif">\n'
            f"<title>{escape(self.title)}</title>\n"
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            f'orient="auto"><path d="M0 0 8 4 0 8z" fill="{INK}"/></marker></defs>\n'
            f'<rect width="100%" height="100%" fill="{PAPER}"/>\n' + "\n".join(self.parts) + "\n</svg>\n"
        )

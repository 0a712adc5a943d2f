"""Charts as SVG text, made by the server: plain numbers in, a `Fragment` out. Knows no recording and no framework.

Colours and fonts are classes of the style sheet, because the content security policy refuses `style` attributes.
Horizontal places are percentages, so that a chart takes any width and its text keeps its size.
"""

from __future__ import annotations

from importlib.resources import files


def charts_css() -> str:
    """The style sheet of all charts; a file that works offline inlines it."""
    return files(__name__).joinpath("charts.css").read_text("utf-8")

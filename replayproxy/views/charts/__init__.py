"""Charts as SVG text, made by the server: plain numbers in, a `Fragment` out. Knows no recording and no framework.

Colours and fonts are classes of the style sheet, because the content security policy refuses `style` attributes.
Horizontal places are percentages, so that a chart takes any width and its text keeps its size.
"""

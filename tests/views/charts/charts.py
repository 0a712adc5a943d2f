"""Reads charts as XML, as no browser would have to guess."""

from __future__ import annotations

from xml.etree import ElementTree

from replayproxy.views.charts.svg import Fragment


def parsed(chart: Fragment) -> ElementTree.Element:
    """A chart as a tree. Raises where it is not well-formed."""
    return ElementTree.fromstring(str(chart))  # noqa: S314  our own markup


def marks(chart: Fragment, name: str, class_: str | None = None) -> list[ElementTree.Element]:
    """Its elements of this name, and of this class."""
    return [element for element in parsed(chart).iter(name) if class_ in (None, element.get("class"))]


def titles(chart: Fragment) -> list[str]:
    """What its marks are called."""
    return [element.text or "" for element in parsed(chart).iter("title")]

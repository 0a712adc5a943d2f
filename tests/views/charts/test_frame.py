"""The frame of a chart: its name, its axes, its curve."""

from __future__ import annotations

from replayproxy.views.charts.frame import BOTTOM, TOP, curve, framed, y_place
from replayproxy.views.charts.scale import Scale
from replayproxy.views.charts.svg import tag
from tests.views.charts.charts import marks, parsed, titles


def test_a_chart_has_a_name_and_labels() -> None:
    """For those who cannot see it: an image, or a group where its marks are links. The labels of y are apart."""
    chart = framed("how fast", [tag("rect", class_="a")], x=Scale(0, 2), y=Scale(0, 4))
    plot = marks(chart, "svg", "plot")[0]
    assert (plot.get("role"), plot.get("aria-label"), titles(chart)[0]) == ("img", "how fast", "how fast")
    assert [text.text for text in marks(chart, "text")][:3] == ["0", "1", "2"]
    assert len(marks(chart, "rect", "a")) == 1
    group = framed("how fast", [], x=Scale(0, 2), y=None, is_image=False)
    assert marks(group, "svg", "plot")[0].get("role") == "group"
    assert marks(group, "svg", "scale") == []


def test_no_style_attribute_is_used() -> None:
    """The content security policy refuses them."""
    chart = framed("x", [curve([(0, 0), (1, 1)], 100, "line a")], x=Scale(0, 2), y=Scale(0, 4))
    assert [element for element in parsed(chart).iter() if "style" in element.attrib] == []


def test_the_axis_is_below_the_marks() -> None:
    """1 is at the top, 0 on the axis."""
    assert (y_place(1, 100), y_place(0, 100)) == (TOP, 100 - BOTTOM)

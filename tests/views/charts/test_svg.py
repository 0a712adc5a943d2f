"""Elements as text: escaped, and without control characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.views.charts.svg import Fragment, joined, percent, tag
from tests.views.charts.charts import parsed


def test_an_element_has_its_attributes_and_content() -> None:
    """`class_` is `class`, underscores are hyphens, None is left out, floats are short."""
    circle = tag("circle", tag("title", "a < b"), cx="5%", r=2.5, class_="a", text_anchor=None, aria_label='"x"')
    assert (
        str(circle) == '<circle cx="5%" r="2.5" class="a" aria-label="&quot;x&quot;"><title>a &lt; b</title></circle>'
    )
    assert str(tag("line", x1=1.0)) == '<line x1="1"/>'
    assert str(joined(tag("a"), tag("b"))) == "<a/><b/>"
    assert tag("a").__html__() == "<a/>"


@given(st.text(max_size=40))
def test_text_stays_text(text: str) -> None:
    """Whatever a recording holds: no element, no end of an attribute, nothing that XML refuses."""
    element = parsed(tag("g", text, aria_label=text))
    assert len(element) == 0
    assert set(element.attrib) == {"aria-label"}


@pytest.mark.parametrize(("share", "expected"), [(0, "0%"), (0.5, "50%"), (1 / 3, "33.33%"), (1, "100%")])
def test_a_share_as_a_percentage(share: float, expected: str) -> None:
    """Two decimals at most."""
    assert percent(share) == expected


def test_a_fragment_is_not_escaped_again() -> None:
    """Inside another element it is what it is."""
    assert str(tag("g", Fragment("<b/>"))) == "<g><b/></g>"

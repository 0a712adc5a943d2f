"""SVG and HTML as text, escaped in one place.

tag("circle", cx="12%", r=3, class_="error")  ──▶  <circle cx="12%" r="3" class="error"/>
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from replayproxy.core.visible import visible


@dataclass(frozen=True, slots=True)
class Fragment:
    """Markup that is escaped already: templates insert it as it is."""

    text: str

    def __html__(self) -> str:
        """What Jinja asks for instead of escaping."""
        return self.text

    def __str__(self) -> str:
        return self.text


def tag(name: str, *content: str | Fragment, **attributes: object) -> Fragment:
    """One element. Text is escaped; `text_anchor` becomes `text-anchor`, `class_` `class`; None leaves one out."""
    words = "".join(
        f' {_attribute_name(key)}="{_value(value)}"' for key, value in attributes.items() if value is not None
    )
    inner = "".join(part.text if isinstance(part, Fragment) else text(part) for part in content)
    return Fragment(f"<{name}{words}>{inner}</{name}>" if content else f"<{name}{words}/>")


def joined(*parts: Fragment) -> Fragment:
    """Several fragments as one."""
    return Fragment("".join(part.text for part in parts))


def text(content: str) -> str:
    """A text as markup: escaped, and without control characters."""
    return escape(visible(content))


def percent(share: float) -> str:
    """A share of the width, such as 0.123, as `12.3%`."""
    return f"{100 * share:.2f}".rstrip("0").rstrip(".") + "%"


def _attribute_name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _value(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else text(str(value))

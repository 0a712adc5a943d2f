"""Each of the two variables goes on saying what it said."""

from __future__ import annotations

import pytest

from replayproxy.core.no_proxy import no_proxy_for

OURS = "127.0.0.1,localhost"


@pytest.mark.parametrize(
    ("variables", "upper", "lower"),
    [
        ({}, OURS, OURS),
        ({"NO_PROXY": "a"}, f"a,{OURS}", f"a,{OURS}"),
        ({"no_proxy": "b"}, f"b,{OURS}", f"b,{OURS}"),
        ({"NO_PROXY": "a", "no_proxy": "b"}, f"a,{OURS}", f"b,{OURS}"),
        ({"NO_PROXY": "a", "no_proxy": ""}, f"a,{OURS}", f"a,{OURS}"),
        ({"NO_PROXY": " ", "no_proxy": "b"}, f"b,{OURS}", f"b,{OURS}"),
        ({"NO_PROXY": "a, .b ,,c", "no_proxy": "localhost"}, f"a,.b,c,{OURS}", "localhost,127.0.0.1"),
        ({"NO_PROXY": OURS, "no_proxy": OURS}, OURS, OURS),
        ({"NO_PROXY": "*", "no_proxy": "b"}, "*", f"b,{OURS}"),
        ({"no_proxy": "a,*"}, "*", "*"),
    ],
)
def test_both_are_right(variables: dict[str, str], upper: str, lower: str) -> None:
    """Also where they differ, where one of them is empty, and where everything is left to nobody."""
    assert no_proxy_for(variables) == {"NO_PROXY": upper, "no_proxy": lower}

"""What a rule means, and where in a JSON text it leads."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.core.redaction.rules import RedactionRules, path_to, strings

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-999, 999) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)


@given(VALUES)
def test_every_scalar_is_found_where_it_stands(value: object) -> None:
    """`$` leads to all of them, in their order."""
    body = orjson.dumps([value], option=orjson.OPT_INDENT_2)
    found = [
        orjson.loads(body[one.start - one.is_string : one.stop + one.is_string])
        for one in RedactionRules(["$"]).values(body)
    ]
    assert found == list(_scalars(value))


def _scalars(value: object) -> list[object]:
    if isinstance(value, dict):
        return [scalar for inner in value.values() for scalar in _scalars(inner)]
    if isinstance(value, list):
        return [scalar for inner in value for scalar in _scalars(inner)]
    return [value]


@given(VALUES)
def test_strings_are_found_with_keys(value: object) -> None:
    """And nothing but them."""
    body = orjson.dumps([value])
    assert len(list(strings(body))) * 2 == body.replace(b"\\\\", b"").replace(b'\\"', b"").count(b'"')


PLACES = [
    (b'{"a":{"b":["x","here"]}}', "$.a.b[1]"),
    (b'{"a b":"here"}', "$['a b']"),
    (b'["here"]', "$[0]"),
    (b'"here"', "$"),
    (b'{"here":1}', None),
    (b"here, no JSON", None),
]


@pytest.mark.parametrize(("body", "path"), PLACES)
def test_a_place_has_a_path(body: bytes, path: str | None) -> None:
    """For people: where to look."""
    assert path_to(body, body.index(b"here")) == path


def test_which_rules_want_a_whole_body() -> None:
    """A header does not."""
    assert not RedactionRules(["header:X-Request-Id"]).needs_whole_body
    assert RedactionRules(["header:X-Request-Id"]).headers == {"x-request-id"}
    assert RedactionRules(["re:x"]).needs_whole_body
    assert RedactionRules(["$.x"]).needs_whole_body

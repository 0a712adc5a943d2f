"""Which fields can be set on requests to a server, and where their values come from."""

from __future__ import annotations

import pytest

from replayproxy.core.upstream_fields import BadField, fields_of, with_fields

ENVIRONMENT = {"GATEWAY_KEY": "Bearer sk-1", "EMPTY": "", "TWO_LINES": "a\r\nX-Admin: 1"}

FIELDS = {
    "a value": ("X-Team=search", ("X-Team", "search")),
    "spaces": (" X-Team = a b ", ("X-Team", "a b")),
    "an equals sign in the value": ("X-Query=a=b", ("X-Query", "a=b")),
    "from the environment": ("Authorization=@GATEWAY_KEY", ("Authorization", "Bearer sk-1")),
    "empty": ("X-Nothing=", ("X-Nothing", "")),
}

REFUSED = {
    "no value": ("Authorization", "is not NAME=VALUE"),
    "no name": ("=x", "is not NAME=VALUE"),
    "a name with a space": ("X Team=a", "is not NAME=VALUE"),
    "a name with a line feed": ("X\nY=a", "is not NAME=VALUE"),
    "a variable that is not set": ("Authorization=@NOTHING", "[$]NOTHING, which is not set"),
    "an empty variable": ("Authorization=@EMPTY", "[$]EMPTY, which is not set"),
    "a line feed": ("X-Team=a\nb", "characters that no field may have"),
    "a line feed from the environment": ("X-Team=@TWO_LINES", "characters that no field may have"),
    "beyond ASCII": ("X-Team=\u00e9", "characters that no field may have"),
    **{name: (f"{name}=1", "the proxy decides it") for name in ("Content-Length", "transfer-encoding", "Host", "TE")},
}


@pytest.mark.parametrize(("text", "field"), FIELDS.values(), ids=FIELDS.keys())
def test_a_field(text: str, field: tuple[str, str]) -> None:
    """A value, or the name of a variable that has it."""
    assert fields_of([text], ENVIRONMENT) == (field,)


@pytest.mark.parametrize(("text", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_set(text: str, words: str) -> None:
    """The sentence names the field, never its value, which may be a key."""
    with pytest.raises(BadField, match=words) as caught:
        fields_of([text], ENVIRONMENT)
    assert "sk-1" not in str(caught.value)
    assert "X-Admin" not in str(caught.value)


def test_fields_take_the_place_of_the_client_s() -> None:
    """Whatever their case and number; all others stay where they were."""
    sent = (("authorization", "Bearer mine"), ("Accept", "*/*"), ("AUTHORIZATION", "again"))
    assert with_fields(sent, (("Authorization", "ours"),)) == (("Accept", "*/*"), ("Authorization", "ours"))
    assert with_fields(sent, ()) is sent

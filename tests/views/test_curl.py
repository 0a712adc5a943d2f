"""`curl_command`: the method, the fields and the body of a request. tests/formats/test_curl.py runs such commands."""

from __future__ import annotations

import pytest

from replayproxy.model import Request
from replayproxy.views.curl import curl_command


@pytest.mark.parametrize(
    ("request_", "command"),
    [
        (Request("GET", "/v1/models"), "curl --no-buffer http://h:1/v1/models"),
        (Request("POST", "/v1/x"), "curl --no-buffer http://h:1/v1/x \\\n  --request POST"),
        (Request("POST", "/v1/x", (), b"{}"), "curl --no-buffer http://h:1/v1/x \\\n  --data-binary '{}'"),
        (Request("PUT", "/a", (("Host", "b"),)), "curl --no-buffer http://h:1/a \\\n  --request PUT"),
    ],
)
def test_a_command_has_what_curl_does_not_do_by_itself(request_: Request, command: str) -> None:
    """No `--request` where the method follows from the body, and no field that curl sends itself."""
    assert curl_command(request_, "http://h:1/") == command

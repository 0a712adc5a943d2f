"""URLs of the server itself become those of the proxy, and no others do."""

from __future__ import annotations

import pytest

from replayproxy.core.origins import NEUTRAL, Origin, UrlSearch, for_client, neutral

SERVER = Origin("http", "10.0.0.7", 8000)
OTHER = Origin("http", "10.0.0.8", 8000)
SIX = Origin("http", "::1", 8000)
PLAIN = Origin("http", "llm.example", 80)
SECURE = Origin("https", "llm.example", 443)
UNDER = Origin("http", "10.0.0.7", 8000, "/base")

URLS: list[tuple[str, tuple[Origin, ...], str, str]] = [
    ("own", (SERVER,), "http://10.0.0.7:8000/v1/models", f"{NEUTRAL}/v1/models"),
    ("own, without a path", (SERVER,), "http://10.0.0.7:8000", f"{NEUTRAL}/"),
    ("own, a query alone", (SERVER,), "http://10.0.0.7:8000?a=b", f"{NEUTRAL}/?a=b"),
    ("own, query and fragment", (SERVER,), "http://10.0.0.7:8000/a?b=http://x/#c", f"{NEUTRAL}/a?b=http://x/#c"),
    ("own, scheme in upper case", (SERVER,), "HTTP://10.0.0.7:8000/a", f"{NEUTRAL}/a"),
    ("own, host in upper case", (PLAIN,), "http://LLM.Example/a", f"{NEUTRAL}/a"),
    ("own, with a final dot", (PLAIN,), "http://llm.example./a", f"{NEUTRAL}/a"),
    ("own, default port", (PLAIN,), "http://llm.example:80/a", f"{NEUTRAL}/a"),
    ("own, empty port", (PLAIN,), "http://llm.example:/a", f"{NEUTRAL}/a"),
    ("own, default port of TLS", (SECURE,), "https://llm.example:443/a", f"{NEUTRAL}/a"),
    ("own, IPv6", (SIX,), "http://[::1]:8000/a", f"{NEUTRAL}/a"),
    ("own, network path", (SERVER,), "//10.0.0.7:8000/a", f"{NEUTRAL}/a"),
    ("own, network path, TLS", (SECURE,), "//llm.example/a", f"{NEUTRAL}/a"),
    ("of another server of the pair", (SERVER, OTHER), "http://10.0.0.8:8000/a", f"{NEUTRAL}/a"),
    ("below the prefix", (UNDER,), "http://10.0.0.7:8000/base/v1", f"{NEUTRAL}/v1"),
    ("the prefix itself", (UNDER,), "http://10.0.0.7:8000/base", f"{NEUTRAL}/"),
    ("a path below the prefix", (UNDER,), "/base/v1?x", "/v1?x"),
    ("beside the prefix", (UNDER,), "http://10.0.0.7:8000/basement/v1", "http://10.0.0.7:8000/basement/v1"),
    ("a path beside the prefix", (UNDER,), "/login", "/login"),
    ("a path", (SERVER,), "/v1/models/", "/v1/models/"),
    ("relative", (SERVER,), "models/", "models/"),
    ("relative, with a colon in its query", (SERVER,), "?next=http://10.0.0.7:8000/", "?next=http://10.0.0.7:8000/"),
    ("empty", (SERVER,), "", ""),
    ("another port", (SERVER,), "http://10.0.0.7:8001/a", "http://10.0.0.7:8001/a"),
    ("another scheme", (SERVER,), "https://10.0.0.7:8000/a", "https://10.0.0.7:8000/a"),
    ("another host", (SERVER,), "http://10.0.0.77:8000/a", "http://10.0.0.77:8000/a"),
    ("a host that begins like it", (PLAIN,), "http://llm.example.com/a", "http://llm.example.com/a"),
    ("with credentials", (SERVER,), "http://me@10.0.0.7:8000/a", "http://me@10.0.0.7:8000/a"),
    ("not a URL", (SERVER,), "http://[10.0.0.7:8000/a", "http://[10.0.0.7:8000/a"),
    ("not a port", (SERVER,), "http://10.0.0.7:80000/a", "http://10.0.0.7:80000/a"),
    ("another kind of URL", (SERVER,), "urn:uuid:10", "urn:uuid:10"),
]


@pytest.mark.parametrize(("own", "url", "expected"), [row[1:] for row in URLS], ids=[row[0] for row in URLS])
def test_urls_of_the_server_become_neutral(own: tuple[Origin, ...], url: str, expected: str) -> None:
    """In `Location` and `Content-Location`, in any case; no other field is read."""
    fields = (("Location", url), ("content-location", url), ("Link", url), ("X-Location", url))
    changed = (("Location", expected), ("content-location", expected), ("Link", url), ("X-Location", url))
    assert neutral(fields, own) == changed


@pytest.mark.parametrize(
    ("stored", "origin", "prefix", "expected"),
    [
        (f"{NEUTRAL}/v1/models", "http://localhost:8080", "", "http://localhost:8080/v1/models"),
        (f"{NEUTRAL}/v1/models", "https://proxy", "/t/a%20b", "https://proxy/t/a%20b/v1/models"),
        (f"{NEUTRAL}/?a", "http://[::1]:8080", "", "http://[::1]:8080/?a"),
        (f"{NEUTRAL}/v1", "", "", "/v1"),
        (f"{NEUTRAL}/v1", "", "/t/a", "/t/a/v1"),
        (f"{NEUTRAL}.example/v1", "http://proxy", "", f"{NEUTRAL}.example/v1"),
        ("/v1/models/", "http://proxy", "", "/v1/models/"),
        ("/v1/models/", "http://proxy", "/t/a", "/t/a/v1/models/"),
        ("//elsewhere/v1", "http://proxy", "/t/a", "//elsewhere/v1"),
        ("models/", "http://proxy", "/t/a", "models/"),
        ("http://elsewhere/v1", "http://proxy", "/t/a", "http://elsewhere/v1"),
    ],
)
def test_what_is_neutral_gets_the_origin_that_the_client_used(
    stored: str, origin: str, prefix: str, expected: str
) -> None:
    """Under the scope that stands in its path; a client that named no host gets a path."""
    assert for_client((("location", stored),), origin, prefix) == (("location", expected),)


def test_fields_without_a_location_are_the_same_object() -> None:
    """Nothing is made anew for the answers that have none."""
    fields = (("Content-Type", "application/json"),)
    assert neutral(fields, (SERVER,)) is fields
    assert for_client(fields, "http://proxy") is fields


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"url":"http://10.0.0.7:8000/files/1"}', True),
        (b"see //10.0.0.7:8000", True),
        (b'{"url":"http://10.0.0.8:8000/files/1"}', False),
        (b"10.0.0.7:8000", False),
        (b"//10.0.0.7:800 //10.0.0.7", False),
    ],
)
@pytest.mark.parametrize("at_once", [0, 10, 8192])
def test_urls_in_bodies_are_found_wherever_a_read_ends(
    monkeypatch: pytest.MonkeyPatch, body: bytes, found: bool, size: int, at_once: int
) -> None:
    """In pieces of any size, of which any number is searched together."""
    monkeypatch.setattr("replayproxy.core.origins._SEARCHED_AT_ONCE", at_once)
    search = UrlSearch("10.0.0.7:8000")
    for at in range(0, len(body), size):
        search.feed(body[at : at + size])
    assert search.found is found

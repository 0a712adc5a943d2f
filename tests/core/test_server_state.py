"""What a server publishes of its state has a time and a size, so that queues of it are bounded."""

from __future__ import annotations

from replayproxy.core.server_state import KvMessage, KvMessages, ScrapedPage


def test_sizes_grow_with_what_is_held() -> None:
    """And are never nothing."""
    assert ScrapedPage("http://a", 1, b"").size > 0
    assert ScrapedPage("http://a", 1, b"x" * 1000).size >= 1000
    one = KvMessage(7, b"topic", bytes(8), b"p" * 100)
    assert KvMessages("tcp://a", [one, one]).size > 200


def test_messages_are_as_old_as_their_first() -> None:
    """That is when the row of them begins."""
    parts = [KvMessage(at, b"", bytes(8), b"") for at in (7, 9)]
    assert KvMessages("tcp://a", parts).at == 7

"""What a server publishes of its own state beside its answers: pages of metrics, and messages about its KV cache.

Values alone: who reads them from the server (`net`), keeps them (`cassette`) and serves them again does not stand here.
Times are in ns since the Unix epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

SCRAPED = "server_scraped"
"""The entry of `meta` with the URLs of the servers whose metrics are kept, the one first that gets `/metrics` live."""

MOST_PAGE = 4 * 1024 * 1024
"""Bytes of a page of metrics. That of a vLLM with an hour of traffic has 100 KB."""

MOST_MESSAGE = 4 * 1024 * 1024
"""Bytes of the payload of a message: 16 events with the tokens of a prompt each have less than 1 MB."""


@dataclass(frozen=True, slots=True)
class ScrapedPage:
    """A page of metrics in the Prometheus text format, as the server sent it."""

    server: str
    """Its URL."""
    at: int
    text: bytes

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        return 500 + len(self.text)


class KvMessage(NamedTuple):
    """A message of the events of a KV cache: the three frames that vLLM sends."""

    at: int
    topic: bytes
    sequence: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class KvMessages:
    """Some messages of one publisher in the order in which they came, one at least."""

    server: str
    """The endpoint that they came from."""
    messages: Sequence[KvMessage]

    @property
    def at(self) -> int:
        """When the first one came."""
        return self.messages[0].at

    @property
    def size(self) -> int:
        """About how many bytes of memory they take."""
        return 500 + sum(300 + len(one.topic) + len(one.payload) for one in self.messages)


@dataclass(frozen=True, slots=True)
class RecordedFacts:
    """What a cassette's row says of an answer, for the state of the server while it is played. Times in ns."""

    recorded_at: int
    total: int
    """From the request to the end."""
    first_token: int | None
    """From the request to the first event with content."""
    status: int
    is_stream: bool
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    finish: str | None


ServerState = ScrapedPage | KvMessages

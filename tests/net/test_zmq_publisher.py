"""Batches reach subscribers with topic and number, and those that were missed come again, complete."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import zmq
import zmq.asyncio

from replayproxy.errors import SettingsError
from replayproxy.net.zmq_publisher import END, ZmqPublisher, is_bound, of_rank

BATCHES: list[tuple[bytes, bytes]] = [(number.to_bytes(8, "big"), b"payload %d" % number) for number in range(5)]


@pytest.mark.parametrize(
    ("endpoint", "bound"),
    [
        ("tcp://*:5557", True),
        ("tcp://[::]:5557", True),
        ("ipc:///run/kv", True),
        ("inproc://kv", True),
        ("tcp://127.0.0.1:5557", False),
        ("tcp://router:5557", False),
    ],
)
def test_which_endpoints_are_bound(endpoint: str, bound: bool) -> None:
    """As in vLLM: wildcards, and what is within one machine."""
    assert is_bound(endpoint) == bound


@pytest.mark.parametrize(
    ("endpoint", "rank", "expected"),
    [
        ("tcp://*:5557", 0, "tcp://*:5557"),
        ("tcp://*:5557", 3, "tcp://*:5560"),
        ("tcp://[::1]:5557", 1, "tcp://[::1]:5558"),
        ("tcp://*:0", 3, "tcp://*:0"),
        ("inproc://kv", 2, "inproc://kv_dp2"),
        ("ipc:///run/kv", 2, "ipc:///run/kv"),
    ],
)
def test_the_endpoint_of_a_rank(endpoint: str, rank: int, expected: str) -> None:
    """Its port, plus the rank."""
    assert of_rank(endpoint, rank) == expected


@contextmanager
def socket(kind: int) -> Iterator[zmq.asyncio.Socket]:
    """A socket of a client."""
    context = zmq.asyncio.Context()
    opened = context.socket(kind)
    try:
        yield opened
    finally:
        opened.close(linger=0)
        context.term()


def test_a_subscriber_that_binds_gets_what_is_published() -> None:
    """Topic, number, payload; the publisher connects, as that of llm-d-inference-sim."""

    async def talk() -> None:
        with socket(zmq.SUB) as subscriber:
            subscriber.bind("tcp://127.0.0.1:*")
            subscriber.subscribe(b"kv@")
            publisher = ZmqPublisher(subscriber.get_string(zmq.LAST_ENDPOINT), "kv@pod@tiny")
            try:
                received: list[list[bytes]] = []
                while not received:  # until the subscription has reached the publisher
                    publisher.publish(*BATCHES[0])
                    if await subscriber.poll(50):
                        received.append(await subscriber.recv_multipart())
                assert received == [[b"kv@pod@tiny", *BATCHES[0]]]
            finally:
                publisher.close()

    asyncio.run(talk())


def test_a_subscriber_that_connects_gets_what_is_published() -> None:
    """The publisher binds a wildcard; a port of 0 is a free one."""

    async def talk() -> None:
        publisher = ZmqPublisher("tcp://*:0", "kv")
        with socket(zmq.SUB) as subscriber:
            subscriber.connect(publisher.endpoint.replace("0.0.0.0", "127.0.0.1"))
            subscriber.subscribe(b"")
            try:
                while not await subscriber.poll(50):
                    publisher.publish(*BATCHES[1])
                assert await subscriber.recv_multipart() == [b"kv", *BATCHES[1]]
            finally:
                publisher.close()

    asyncio.run(talk())


@pytest.mark.parametrize(("start", "expected"), [(0, BATCHES), (3, BATCHES[3:]), (9, [])])
def test_a_gap_is_replayed_to_its_end(start: int, expected: list[tuple[bytes, bytes]]) -> None:
    """Each kept batch from the number on, in order, then the end mark."""

    async def talk() -> None:
        publisher = ZmqPublisher(
            "inproc://kv",
            "kv",
            replay_endpoint="tcp://127.0.0.1:*",
            since=lambda number: [(b"kv", *batch) for batch in BATCHES[number:]],
        )
        publisher.start()
        with socket(zmq.DEALER) as client:
            client.connect(str(publisher.replay_endpoint))
            try:
                await client.send_multipart([b"", b"not a request", b"of this protocol"])
                await client.send_multipart([b"", b"longer than a number"])
                await client.send_multipart([b"", start.to_bytes(8, "big")])
                frames: list[list[bytes]] = []
                while not frames or frames[-1] != [b"", b"", END, b""]:
                    frames.append(await asyncio.wait_for(client.recv_multipart(), 10))
                assert frames[:-1] == [[b"", b"kv", *batch] for batch in expected]
            finally:
                publisher.close()

    asyncio.run(talk())


@pytest.mark.parametrize(
    ("endpoint", "words"), [("udp:5557", "cannot be connected to"), ("ipc:///nonexistent/kv", "cannot be bound")]
)
def test_an_endpoint_that_cannot_be(endpoint: str, words: str) -> None:
    """Is refused with its setting."""
    with pytest.raises(SettingsError, match=words) as refused:
        ZmqPublisher(endpoint, "kv")
    assert f"--zmq-endpoint {endpoint}" in str(refused.value)


def test_a_replay_endpoint_that_is_taken() -> None:
    """Is refused with its own setting, and nothing stays open."""
    first = ZmqPublisher("inproc://kv", "kv", replay_endpoint="tcp://127.0.0.1:*")
    try:
        with pytest.raises(SettingsError, match=r"--kv-events-replay-endpoint tcp://127\.0\.0\.1"):
            ZmqPublisher("inproc://kv", "kv", replay_endpoint=first.replay_endpoint)
    finally:
        first.close()


def test_without_pyzmq(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how to get it."""
    monkeypatch.setitem(sys.modules, "zmq", None)
    with pytest.raises(SettingsError, match=r"needs pyzmq.*pip install 'replayproxy\[zmq\]'"):
        ZmqPublisher("tcp://*:0", "kv")

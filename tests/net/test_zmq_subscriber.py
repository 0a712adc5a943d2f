"""KV events are heard as they are published, and gaps, strangers and full queues are counted and said once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
import zmq

from replayproxy.core.server_state import KvMessages
from replayproxy.errors import SettingsError
from replayproxy.net.clock import SystemClock
from replayproxy.net.zmq_publisher import ZmqPublisher
from replayproxy.net.zmq_subscriber import KvEventSubscriber

END = (99).to_bytes(8, "big")


def heard(
    frames: Sequence[tuple[bytes, ...]], *, room: bool = True
) -> tuple[KvEventSubscriber, list[tuple[int, bytes]]]:
    """Publish these, and a last one until it has been heard. Returns number and payload of what was handed over."""
    taken: list[KvMessages] = []
    done = asyncio.Event()

    def take(messages: KvMessages) -> bool:
        taken.append(messages)
        if messages.messages[-1].sequence == END:
            done.set()
        return room

    async def talk() -> KvEventSubscriber:
        clock = SystemClock()
        subscriber = KvEventSubscriber("tcp://127.0.0.1:*", clock, take)
        context = zmq.Context()
        publisher = context.socket(zmq.PUB)
        publisher.connect(subscriber.endpoint)
        publisher.set(zmq.LINGER, 0)
        running = asyncio.create_task(subscriber.run())
        try:
            while subscriber.counts["refused"] == 0:  # until the subscription is there
                publisher.send_multipart((b"hello",))
                await asyncio.sleep(0.005)
            for one in frames:
                publisher.send_multipart(one)
            publisher.send_multipart((b"end", END, b""))
            await asyncio.wait_for(done.wait(), 20)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            publisher.close()
            context.term()
            subscriber.close()
            clock.close()
        return subscriber

    subscriber = asyncio.run(talk())
    parts = [one for messages in taken for one in messages.messages]
    times = [one.at for one in parts]
    assert times == sorted(times)
    return subscriber, [(int.from_bytes(one.sequence, "big"), one.payload) for one in parts if one.sequence != END]


def event(number: int, topic: bytes = b"kv") -> tuple[bytes, ...]:
    """A message."""
    return topic, number.to_bytes(8, "big"), b"payload %d" % number


def test_messages_come_as_they_were_sent() -> None:
    """In their order, of all topics."""
    subscriber, parts = heard([event(0), event(1), event(0, b"other"), event(2)])
    assert parts == [(0, b"payload 0"), (1, b"payload 1"), (0, b"payload 0"), (2, b"payload 2")]
    assert (subscriber.counts["heard"], subscriber.counts["missed"]) == (5, 0)


def test_a_gap_in_the_numbers_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """What a publisher dropped is missing from the recording, and it says so once. A restart is no gap."""
    subscriber, _ = heard([event(5), event(9), event(11), event(0), event(1)])
    assert subscriber.counts["missed"] == 4
    assert caplog.text.count("were lost before they came here") == 1


def test_what_is_no_event_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """And the rest is heard."""
    subscriber, parts = heard([(b"kv", b"short", b"payload"), (b"kv", bytes(8)), event(0)])
    assert parts == [(0, b"payload 0")]
    assert subscriber.counts["refused"] >= 3
    assert caplog.text.count("that are no KV events") == 1


def test_a_full_queue_drops_them(caplog: pytest.LogCaptureFixture) -> None:
    """Traffic does not wait for events."""
    subscriber, _ = heard([event(0)], room=False)
    assert subscriber.counts["dropped"] == 2
    assert caplog.text.count("the writer's queue is full") == 1


@pytest.mark.parametrize("endpoint", ["udp:5557", "ipc:///nonexistent/kv"])
def test_an_endpoint_that_cannot_be(endpoint: str) -> None:
    """Is refused with its setting."""
    with pytest.raises(SettingsError, match=f"--kv-events {endpoint} cannot be used") as refused:
        KvEventSubscriber(endpoint, SystemClock(), lambda _: True)
    assert "tcp://127.0.0.1:5557" in str(refused.value)


def test_our_own_publisher_is_heard() -> None:
    """Of `simulate` and `replay`: a chain of proxies passes events on."""

    async def talk() -> bytes:
        clock, taken = SystemClock(), list[KvMessages]()
        publisher = ZmqPublisher("tcp://127.0.0.1:*", "kv")

        def take(messages: KvMessages) -> bool:
            taken.append(messages)
            return True

        subscriber = KvEventSubscriber(publisher.endpoint, clock, take)
        running = asyncio.create_task(subscriber.run())
        while not taken:
            publisher.publish(bytes(8), b"batch")
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        publisher.close()
        subscriber.close()
        clock.close()
        return taken[0].messages[0].payload

    assert asyncio.run(talk()) == b"batch"

"""A simulated server publishes its cache over real sockets, and says in which pod it runs."""

from __future__ import annotations

import asyncio
from typing import Any

import msgpack
import pytest
import zmq
import zmq.asyncio

from replayproxy.errors import SettingsError
from replayproxy.net.clock import SystemClock
from replayproxy.simulated_server import SimulatedServer
from replayproxy.simulator.options import Simulation
from replayproxy.simulator.state_options import StateOptions
from tests.doubles.simulation import Answered, answered, request
from tests.unused_ports import unused_port

END = b"\xff" * 8


def server(clock: SystemClock, **state: Any) -> SimulatedServer:
    """One of the model `tiny` with a cache."""
    return SimulatedServer(Simulation(model="tiny", state=StateOptions(enable_kvcache=True, **state)), clock)


async def complete(one: SimulatedServer, token: int) -> Answered:
    """A completion whose prompt is a full block of this token, and one more."""
    body = {"model": "tiny", "prompt": [token] * 17, "max_tokens": 1}
    return await answered(one.simulator, request("/v1/completions", body))


async def received(socket: zmq.asyncio.Socket) -> list[bytes]:
    """The frames of a message."""
    return await asyncio.wait_for(socket.recv_multipart(), 10)


def test_a_subscriber_that_missed_batches_gets_them_all() -> None:
    """It sees that numbers are missing, asks for a replay from the first of them, and then has every block."""
    replay = f"tcp://127.0.0.1:{unused_port()}"

    async def talk() -> None:
        clock = SystemClock()
        context = zmq.asyncio.Context()
        subscriber, asker = context.socket(zmq.SUB), context.socket(zmq.DEALER)
        subscriber.bind("tcp://127.0.0.1:*")
        subscriber.subscribe(b"kv@")
        endpoint = subscriber.get_string(zmq.LAST_ENDPOINT)
        one = server(clock, zmq_endpoint=endpoint, replay_endpoint=replay, event_batch_size=1)
        one.listening("127.0.0.1", 8000, {"POD_IP": "10.0.0.7"})
        assert one.endpoints == (endpoint, replay)
        try:
            for token in range(5):  # most likely before the subscription has reached the publisher
                await complete(one, token)
            token = 5
            while not await subscriber.poll(20):
                await complete(one, token)
                token += 1
            topic, number, _ = await received(subscriber)
            assert topic == b"kv@10.0.0.7:8000@tiny"
            first = int.from_bytes(number, "big")
            assert first > 0
            asker.connect(replay)
            await asker.send_multipart([b"", bytes(8)])
            batches: list[list[bytes]] = []
            while not batches or batches[-1][2] != END:
                batches.append(await received(asker))
            numbers = [int.from_bytes(batch[2], "big") for batch in batches[:-1]]
            assert numbers == list(range(token))
            stored = [event for batch in batches[:-1] for event in msgpack.unpackb(batch[3])[1]]
            assert [event["token_ids"] for event in stored] == [[token] * 16 for token in range(len(numbers))]
        finally:
            one.close()
            for socket in (subscriber, asker):
                socket.close(linger=0)
            context.term()
            clock.close()

    asyncio.run(talk())


def test_an_answer_says_in_which_pod_it_was_made() -> None:
    """Not the list of models."""

    async def talk() -> None:
        clock = SystemClock()
        one = server(clock)
        one.listening("127.0.0.1", 8000, {"POD_NAME": "sim-0", "POD_NAMESPACE": "llm"})
        answer, models = await complete(one, 1), await answered(one.simulator, request("/v1/models"))
        names = ("x-inference-pod", "x-inference-port", "x-inference-namespace")
        assert [answer.fields.get(name) for name in names] == ["sim-0", "8000", "llm"]
        assert not set(names) & set(models.fields)
        assert one.endpoints == ()
        one.close()
        clock.close()

    asyncio.run(talk())


def test_two_uses_of_one_endpoint_are_refused() -> None:
    """With the names of both."""
    clock = SystemClock()
    one = server(clock, zmq_endpoint="tcp://*:5557", replay_endpoint="tcp://*:5557")
    with pytest.raises(SettingsError, match="--zmq-endpoint and --kv-events-replay-endpoint are the same"):
        one.listening("127.0.0.1", 8000, {})
    one.close()
    clock.close()

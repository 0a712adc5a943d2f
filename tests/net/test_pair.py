"""A prefill/decode pair behind the proxy: the client hears what one server alone would say, the cassette holds both
legs, and a replay needs neither server.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path

import orjson
import pytest

from replayproxy.core import headers
from replayproxy.core.effort import HEAVY, SHORT
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.pd import PROTOCOLS
from replayproxy.core.pd.protocol import with_body
from replayproxy.core.policy import Mode
from replayproxy.model import Ending, Exchange, Leg, Request
from replayproxy.settings import Settings
from tests import wire
from tests.apps import exchanges, pairing, replaying, run, running
from tests.doubles.pair_double import Pace, Pair, Server, pair
from tests.doubles.pair_http import Visit
from tests.doubles.pair_model import CHAT, TEXT
from tests.pair_questions import ENDPOINTS, answer_to, ask, said

ONE_AFTER_THE_OTHER = ("plain", "nixl", "addr-id")
FOR_ONE_PROMPT = ("nixl", "transfer-id", "addr-id")


def as_sent(visit: Visit) -> tuple[str, str, bytes]:
    """What a server heard."""
    return visit.method, visit.target, visit.body


def of_leg(leg: Leg) -> tuple[str, str, bytes]:
    """What the cassette says that it heard."""
    return leg.request.method, leg.request.target, leg.request.body


def clean(double: Pair) -> None:
    """Every request was handed over, and nothing is left behind."""
    assert double.idle
    assert not double.counts["reused"]
    assert not any(server.counts["local_prefills"] for server in double.decodes)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pair_says_what_one_server_says_and_is_replayed_without_it(
    tmp_path: Path, protocol: str, path: str, stream: bool
) -> None:
    """The right words, by a hand-over; both legs as they were sent and answered; replayed to the byte and the chunk."""
    cassette = tmp_path / "pair.cassette"
    request = ask(path, f"say it by {protocol}", stream=stream)

    async def dialogue() -> tuple[Pair, wire.Answer, wire.Answer]:
        async with pair(protocol) as double, running(pairing(cassette, double)) as proxy:
            live = await wire.ask(proxy.url, request)
        async with running(replaying(cassette)) as proxy:
            again = await wire.ask(proxy.url, request)
        return double, live, again

    double, live, again = run(dialogue())
    assert (live.status, live.whole, said(live.body)) == (200, True, answer_to(request))
    clean(double)
    assert double.counts["read"] == 1

    [exchange] = exchanges(cassette)
    prefill, decode = exchange.legs
    assert [(leg.role, leg.upstream) for leg in exchange.legs] == [
        ("prefill", double.prefill.url),
        ("decode", double.decode.url),
    ]
    assert [of_leg(prefill)] == [as_sent(visit) for visit in double.prefill.asked]
    assert [of_leg(decode)] == [as_sent(visit) for visit in double.decode.asked]
    assert [(leg.response.status, leg.response.ending) for leg in exchange.legs] == [(200, Ending.COMPLETE)] * 2
    assert decode.response.body == exchange.response.body == live.body
    assert decode.response.cuts == exchange.response.cuts
    assert orjson.loads(request.body) == orjson.loads(exchange.request.body)

    assert (again.status, again.body, again.cuts, again.whole) == (live.status, live.body, live.cuts, True)
    assert again.head.get("content-type") == live.head.get("content-type")


@pytest.mark.parametrize("protocol", ONE_AFTER_THE_OTHER)
def test_legs_have_their_times_and_the_client_its_own(tmp_path: Path, protocol: str) -> None:
    """Prefill total, hand-over gap and decode's time to first token; the client's times are decode's, seen from the
    client's request."""
    cassette = tmp_path / "pair.cassette"
    request = ask(CHAT, "slowly", stream=True)

    async def dialogue() -> wire.Answer:
        async with (
            pair(protocol, pace=Pace(prefill=0.03, transfer=0.02, token=0.002)) as double,
            running(pairing(cassette, double)) as proxy,
        ):
            return await wire.ask(proxy.url, request)

    live = run(dialogue())
    [exchange] = exchanges(cassette)
    prefill, decode = exchange.legs
    ended = prefill.started + prefill.response.timeline.end
    late = 500e6  # a busy machine; the loop's timers have the grain of a millisecond
    assert 0 <= prefill.started < late
    assert 28e6 <= prefill.response.timeline.end < 30e6 + late
    assert 0 <= decode.started - ended < late
    assert 18e6 <= decode.response.timeline.first < 20e6 + late
    theirs, ours = decode.response.timeline, exchange.response.timeline
    for leg, client in zip((theirs.head, *theirs.chunks, theirs.end), (ours.head, *ours.chunks, ours.end), strict=True):
        assert abs(decode.started + leg - client) <= 21_000  # a cassette's grain is 10 us
    for frame, at in zip(live.frames, ours.chunks, strict=True):
        assert abs(frame.at - at) < 150e6


@pytest.mark.parametrize("protocol", ["transfer-id", "bootstrap-room"])
def test_both_are_asked_at_once_where_the_protocol_says_so(tmp_path: Path, protocol: str) -> None:
    """Decode does not wait for the prefill's answer; the gap is less than nothing."""
    cassette = tmp_path / "pair.cassette"

    async def dialogue() -> None:
        async with (
            pair(protocol) as double,
            running(pairing(cassette, double)) as proxy,
            wire.connect(proxy.url) as one,
        ):
            double.prefill.gate.clear()
            one.send(ask(CHAT, "at once"))
            await double.until(lambda: double.prefill.working == double.decode.working == 1)
            double.prefill.gate.set()
            assert (await one.answer()).status == 200

    run(dialogue())
    prefill, decode = exchanges(cassette)[0].legs
    assert decode.started < prefill.started + prefill.response.timeline.end


def test_the_clients_request_alone_makes_the_key(tmp_path: Path) -> None:
    """Nothing that we mint is in it: each protocol, and one server alone, give the same key for the same request."""
    request = ask(CHAT, "same", stream=True)
    keys = {Matcher(MatchRules()).key(request)}

    async def record(protocol: str, cassette: Path) -> Exchange:
        async with pair(protocol) as double, running(pairing(cassette, double)) as proxy:
            await wire.ask(proxy.url, request)
        return exchanges(cassette)[0]

    for protocol in PROTOCOLS:
        exchange = run(record(protocol, tmp_path / f"{protocol}.cassette"))
        assert exchange.request.body == request.body
        keys.add(Matcher(MatchRules()).key(exchange.request))
    assert len(keys) == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_both_servers_see_the_clients_fields_and_the_cassette_none_of_its_secrets(
    tmp_path: Path, protocol: str
) -> None:
    """Authorization and vendors' fields pass on both legs; neither exchange nor legs hold them."""
    cassette = tmp_path / "secret.cassette"
    secret = (("Authorization", "Bearer sk-very-secret"), ("X-Tenant", "acme"), ("Cookie", "session=very-secret"))
    own = (*secret, ("X-Request-Id", "mine"), ("x-request-id", "mine too"))

    async def dialogue() -> Pair:
        async with pair(protocol) as double, running(pairing(cassette, double)) as proxy:
            got = await wire.ask(
                proxy.url, ask(CHAT, "who am I", *own, stream=True, stream_options={"include_usage": True})
            )
        assert got.status == 200
        return double

    double = run(dialogue())
    for server in (double.prefill, double.decode):
        [visit] = server.asked
        assert set(secret) <= set(visit.fields)
        ids = visit.all("x-request-id")
        assert ids == ["mine"] or (protocol == "addr-id" and len(ids) == 1 and ids[0].startswith("___prefill_addr_"))
    assert double.prefill.asked[0].get("x-request-id") == double.decode.asked[0].get("x-request-id")
    [exchange] = exchanges(cassette)
    for request in (exchange.request, *(leg.request for leg in exchange.legs)):
        assert not {name.lower() for name, _ in request.headers} & {"authorization", "cookie", "x-tenant"}
        assert headers.get(request.headers, "x-request-id") is not None
    assert b"very-secret" not in cassette.read_bytes()


ALONE: list[tuple[str, Request, int]] = [
    ("models", wire.get("/v1/models"), 200),
    ("tokenize", wire.post("/tokenize", {"model": "tiny", "prompt": "a bb"}), 200),
    ("unknown", wire.get("/v1/what?x=1"), 404),
    ("malformed", wire.post(CHAT, b'{"model":"tiny",'), 400),
    ("no object", wire.post(CHAT, b"[]"), 400),
]


@pytest.mark.parametrize(("request_", "status"), [row[1:] for row in ALONE], ids=[row[0] for row in ALONE])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_generates_nothing_goes_to_a_decode_server(
    tmp_path: Path, protocol: str, request_: Request, status: int
) -> None:
    """As it is, once; no prefill is asked, and there are no legs."""
    cassette = tmp_path / "alone.cassette"

    async def dialogue() -> Pair:
        async with pair(protocol) as double, running(pairing(cassette, double)) as proxy:
            got = await wire.ask(proxy.url, request_)
        assert (got.status, got.head.get("x-replayproxy-error")) == (status, None)
        return double

    double = run(dialogue())
    assert not double.prefill.asked
    assert [as_sent(visit) for visit in double.decode.asked] == [(request_.method, request_.target, request_.body)]
    [exchange] = exchanges(cassette)
    assert (exchange.response.status, exchange.legs) == (status, ())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_several_prompts_are_handed_over_only_where_each_has_its_own_place(tmp_path: Path, protocol: str) -> None:
    """A ticket is for one prompt: presented for a list, all prompts would be answered from the first one's cache."""
    prompts = ["the first", "the second", "the third"]
    request = ask(TEXT, "", prompt=prompts)

    async def dialogue() -> Pair:
        async with pair(protocol) as double, running(pairing(tmp_path / "list.cassette", double)) as proxy:
            got = await wire.ask(proxy.url, request)
        assert [choice["text"] for choice in orjson.loads(got.body)["choices"]] == [
            answer_to(ask(TEXT, prompt)) for prompt in prompts
        ]
        return double

    double = run(dialogue())
    assert len(double.prefill.asked) == (0 if protocol in FOR_ONE_PROMPT else 1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_many_at_once_are_handed_over_each_with_its_own_ticket(tmp_path: Path, protocol: str) -> None:
    """30 clients, 2 prefills, 2 decodes: everyone gets the answer to their own question, no ticket is used twice."""
    requests = [ask(CHAT, f"question {number}", stream=number % 2 == 0) for number in range(30)]
    cassette = tmp_path / "many.cassette"

    async def dialogue() -> None:
        async with (
            pair(protocol, prefills=2, decodes=2, pace=Pace(prefill=0.001, transfer=0.001)) as double,
            running(pairing(cassette, double)) as proxy,
        ):
            answers = await asyncio.gather(*(wire.ask(proxy.url, request) for request in requests))
            assert [said(answer.body) for answer in answers] == [answer_to(request) for request in requests]
        clean(double)
        assert double.counts["read"] == 30
        for servers in (double.prefills, double.decodes):
            assert [server.counts["requests"] for server in servers] == [15, 15]

    run(dialogue())
    assert [len(exchange.legs) for exchange in exchanges(cassette)] == [2] * 30


def test_a_ticket_whose_host_nobody_reaches_is_mended_on_demand(tmp_path: Path) -> None:
    """`--pd-remote-host url`: servers that advertise a name of their own network are found at their URL."""
    request = ask(CHAT, "where are you")

    async def dialogue(remote_host: str) -> int:
        async with pair("nixl") as double:
            double.prefill.kv_host = "prefill-0.cluster.local"
            settings = pairing(tmp_path / f"{remote_host}.cassette", double, pair={"remote_host": remote_host})
            async with running(settings) as proxy:
                return (await wire.ask(proxy.url, request)).status

    assert run(dialogue("keep")) == 500
    assert run(dialogue("url")) == 200


def test_a_prefill_that_was_started_anew_is_asked_for_its_new_engine(tmp_path: Path) -> None:
    """An engine's name is believed no longer than its server lives."""

    async def dialogue() -> None:
        async with pair("transfer-id") as double, running(pairing(tmp_path / "a.cassette", double)) as proxy:
            first = await wire.ask(proxy.url, ask(CHAT, "before"))
            double.kill(double.prefill)
            down = await wire.ask(proxy.url, ask(CHAT, "meanwhile"))
            await double.revive(double.prefill)
            again = await wire.ask(proxy.url, ask(CHAT, "after"))
        assert [first.status, down.status, again.status] == [200, 502, 200]
        assert double.queries["queries"] == 2

    run(dialogue())


def test_auto_plays_what_the_pair_has_said_before(tmp_path: Path) -> None:
    """The second time in another process, neither server is asked."""
    cassette = tmp_path / "auto.cassette"
    request = ask(CHAT, "once", stream=True)

    async def dialogue(settings: Settings) -> bytes:
        async with running(settings) as proxy:
            return (await wire.ask(proxy.url, request)).body

    async def both() -> None:
        async with pair("nixl") as double:
            settings = pairing(cassette, double)
            auto = Settings(Mode.AUTO, settings.cassettes, pair=settings.pair)
            assert await dialogue(auto) == await dialogue(auto)
            assert double.prefill.counts["requests"] == double.decode.counts["requests"] == 1

    run(both())


def test_an_id_with_addresses_in_it_is_refused(tmp_path: Path) -> None:
    """It would send a connector where a client wants."""
    forged = ask(CHAT, "x", ("X-Request-Id", "___prefill_addr_evil:1___decode_addr_evil:2_3"))

    async def dialogue() -> None:
        async with pair("addr-id") as double, running(pairing(tmp_path / "a.cassette", double)) as proxy:
            got = await wire.ask(proxy.url, forged)
        assert (got.status, got.head.get("x-replayproxy-error")) == (400, "bad_request")
        assert not any(server.asked for server in double.servers)

    run(dialogue())


def test_a_prefill_is_free_again_when_its_leg_is_over(tmp_path: Path) -> None:
    """However long its decodes take: the next prompt goes to the server that has nothing to prefill."""

    async def dialogue() -> None:
        async with AsyncExitStack() as stack:
            double = await stack.enter_async_context(pair("nixl", prefills=2))
            proxy = await stack.enter_async_context(running(pairing(tmp_path / "free.cassette", double)))
            one, other = double.prefills

            async def send(number: int, server: Server) -> None:
                client = await stack.enter_async_context(wire.connect(proxy.url))
                client.send(ask(CHAT, f"question {number}"))
                before = server.counts["requests"]
                await double.until(lambda: server.counts["requests"] == before + 1)

            double.decode.gate.clear()
            await send(1, one)
            await send(2, other)
            await double.until(lambda: double.decode.working == 2)
            one.gate.clear()
            await send(3, one)
            await send(4, other)
            await double.until(lambda: double.decode.working == 3)
            await send(5, other)
            for gate in (one.gate, double.decode.gate):
                gate.set()
            await double.until(lambda: double.decode.counts["answered"] == 5)

    run(dialogue())


def test_a_server_that_does_not_accept_is_left_out_like_one_that_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that is off does not refuse; what it was to be asked goes to another."""
    monkeypatch.setattr("replayproxy.net.upstream.CONNECT_PATIENCE", 0.1)

    async def dialogue() -> None:
        with silent_port() as url:
            async with pair("nixl") as double:
                settings = pairing(tmp_path / "off.cassette", double, pair={"decode": (url, double.decode.url)})
                async with running(settings) as proxy:
                    answers = [await wire.ask(proxy.url, ask(CHAT, f"question {number}")) for number in range(3)]
        assert [answer.status for answer in answers] == [200] * 3
        clean(double)

    run(dialogue())


@contextmanager
def silent_port() -> Iterator[str]:
    """A port whose queue of connections is full: the kernel drops whoever comes."""
    with socket.socket() as listening, ExitStack() as waiting:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            caller = waiting.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(listening.getsockname())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("protocol", ["nixl", "transfer-id"])
@pytest.mark.parametrize(
    ("question", "places"),
    [
        ("a" * 1000, {True}),
        ("a" * (SHORT + 1), {False}),
        ("[" * 10_000, {False}),
        ("a" * (HEAVY + 1), set()),
        ("[" * 40_000, set()),
    ],
    ids=["short", "long", "many marks", "heavy", "very many marks"],
)
def test_a_long_request_is_split_aside(
    protocol: str, question: str, places: set[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is parsed, and each leg's body is encoded, in a thread; that of a heavy one in another process."""
    protocol_module = sys.modules[with_body.__module__]
    threads: dict[str, set[bool]] = {"json_of": set(), "_with_bytes": set()}

    def watch(name: str) -> None:
        function = getattr(protocol_module, name)

        def watching(*arguments: object) -> object:
            threads[name].add(threading.current_thread() is threading.main_thread())
            return function(*arguments)

        monkeypatch.setattr(protocol_module, name, watching)

    for name in threads:
        watch(name)

    async def dialogue() -> None:
        async with (
            pair(protocol, pace=Pace(prefill=0, transfer=0, token=0)) as double,
            running(pairing(tmp_path / "pair.cassette", double)) as proxy,
        ):
            request = ask(CHAT, question)
            answer = await wire.ask(proxy.url, request)
            assert (answer.status, said(answer.body)) == (200, answer_to(request))
            assert repr(proxy.app.parts.leg_worker) == f"<WorkerProcess: {'idle' if places else 'started'}>"

    run(dialogue())
    assert threads == {"json_of": places, "_with_bytes": places}

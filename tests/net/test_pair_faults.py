"""What every fault of either server of a pair gets: its own status to the client, its mark on the cassette, and never
an empty 200. Afterwards the same proxy serves on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from replayproxy.core.pd import PROTOCOLS
from replayproxy.model import Ending, Exchange
from replayproxy.net.upstream import HttpUpstream
from tests import wire
from tests.apps import exchanges, pairing, replaying, run, running
from tests.doubles.pair_double import Close, Fault, Hang, Pair, Reset, Say, Tamper, pair
from tests.doubles.pair_http import Fields
from tests.doubles.pair_model import CHAT, error
from tests.pair_questions import answer_to, ask, said

COMPLETE, CUT, TIMEOUT, GONE = Ending.COMPLETE, Ending.UPSTREAM_CUT, Ending.TIMEOUT, Ending.CLIENT_LEFT

CONCURRENT = ("transfer-id", "bootstrap-room")
HANDED_OVER = tuple(name for name in PROTOCOLS if name != "plain")
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])

BUSY: Fields = (("content-type", "application/json"), ("retry-after", "2"), ("x-ratelimit-limit", "7"))
NO = error(503, "busy", "ServiceUnavailable")


@dataclass(frozen=True, slots=True)
class Heard:
    """What a client heard, and what the cassette holds of it."""

    status: int
    code: str | None
    whole: bool
    answer: wire.Answer
    exchange: Exchange
    double: Pair

    @property
    def legs(self) -> list[tuple[str, int, Ending]]:
        """Role, status and ending of each leg."""
        return [(leg.role, leg.response.status, leg.response.ending) for leg in self.exchange.legs]


async def fall(
    cassette: Path,
    protocol: str,
    *,
    stream: bool = False,
    prefill: Fault | None = None,
    decode: Fault | None = None,
    dead: str = "",
    lease: float = 30,
    **options: Any,
) -> Heard:
    """Ask a pair with a fault, mend it, and ask again."""
    request = ask(CHAT, "does it work", stream=stream)
    async with pair(protocol, lease=lease) as double:
        double.prefill.fault, double.decode.fault = prefill, decode
        timeout = 0.5 if any(isinstance(fault, Hang) for fault in (prefill, decode)) else 30  # a busy machine is slow
        settings = pairing(cassette, double, pair=options, upstream_timeout=timeout, stall_timeout=timeout)
        async with running(settings) as proxy, wire.connect(proxy.url) as connection:
            killed = [server for server in double.servers if server.role == dead]
            for server in killed:
                double.kill(server)
            answer = await connection.ask(request)
            assert (answer.status, answer.whole, answer.body) != (200, True, b"")
            for server in double.servers:
                server.fault, server.lease = None, 30
            for server in killed:
                await double.revive(server)
            other = ask(CHAT, "it does", stream=stream)
            again = await wire.ask(proxy.url, other)
            assert (again.status, said(again.body)) == (200, answer_to(other))
            await double.until(lambda: not any(server.working for server in double.servers))
    first = exchanges(cassette)[0]
    return Heard(answer.status, answer.head.get("x-replayproxy-error"), answer.whole, answer, first, double)


# The prefill fails

ANSWERS: list[tuple[str, Say, int]] = [
    ("400", Say(400, error(400, "too long", "BadRequestError")), 400),
    ("404", Say(404, b'{"detail":"Not Found"}'), 404),
    ("429", Say(429, b'{"error":{"message":"slow down"}}', BUSY), 429),
    ("500", Say(500, error(500, "EngineCore died", "InternalServerError")), 500),
    ("503", Say(503, NO, BUSY), 503),
    ("503 without a body", Say(503, b""), 503),
    ("307", Say(307, b"", (("location", "http://elsewhere/"),)), 307),
]
SAYS_NO: list[tuple[str, str, Say, int]] = [
    *((f"nixl {name}", "nixl", fault, status) for name, fault, status in ANSWERS),
    *((f"{name} {row[0]}", name, *row[1:]) for name in PROTOCOLS if name != "nixl" for row in ANSWERS[2:4]),
]


@STREAMS
@pytest.mark.parametrize(("protocol", "fault", "status"), [row[1:] for row in SAYS_NO], ids=[row[0] for row in SAYS_NO])
def test_a_prefill_that_says_no_is_what_the_client_hears(
    tmp_path: Path, protocol: str, fault: Say, status: int, stream: bool
) -> None:
    """Its status, fields and body, for the client, on the cassette and in a replay; decode generates nothing."""
    cassette = tmp_path / "no.cassette"
    got = run(fall(cassette, protocol, stream=stream, prefill=fault))
    assert (got.status, got.code, got.whole, got.answer.body) == (status, None, True, fault.body)
    assert set(fault.fields) <= set(got.answer.headers)
    assert got.exchange.response.ending is COMPLETE
    assert ("prefill", status, COMPLETE) in got.legs
    if protocol in CONCURRENT:
        assert got.double.decode.counts["aborted"] == 1
        assert [role for role, *_ in got.legs] == ["prefill", "decode"]
        assert got.legs[1][2] is GONE
    else:
        assert len(got.legs) == 1
        assert len(got.double.decode.asked) == 1  # the second request

    async def again() -> wire.Answer:
        async with running(replaying(cassette)) as proxy:
            return await wire.ask(proxy.url, ask(CHAT, "does it work", stream=stream))

    replayed = run(again())
    assert (replayed.status, replayed.body) == (status, fault.body)


Row = tuple[str, dict[str, Any], int, str, Ending, int]

BROKEN: list[Row] = [
    ("is silent", {"prefill": Hang()}, 504, "upstream_timeout", TIMEOUT, 0),
    ("falls silent", {"prefill": Hang(3)}, 504, "upstream_timeout", TIMEOUT, 200),
    ("resets", {"prefill": Reset()}, 502, "upstream_garbled", CUT, 0),
    ("closes", {"prefill": Close()}, 502, "upstream_garbled", CUT, 0),
    ("resets within its answer", {"prefill": Reset(3)}, 502, "prefill_failed", CUT, 200),
    ("closes within its answer", {"prefill": Close(3)}, 502, "prefill_failed", CUT, 200),
]

SILENT = [row for row in BROKEN if row[5] == 0]
"""Those that break before anything can have been handed over."""


@STREAMS
@pytest.mark.parametrize(
    ("faults", "status", "code", "ending", "leg"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN]
)
@pytest.mark.parametrize("protocol", ["plain", "nixl", "addr-id"])
def test_a_prefill_that_breaks_is_an_openai_error(
    tmp_path: Path,
    protocol: str,
    faults: dict[str, Any],
    status: int,
    code: str,
    ending: Ending,
    leg: int,
    stream: bool,
) -> None:
    """502 or 504, and the leg as far as it came; decode is not asked."""
    got = run(fall(tmp_path / "broken.cassette", protocol, stream=stream, **faults))
    assert (got.status, got.code, got.whole) == (status, code, True)
    assert orjson.loads(got.answer.body)["error"]["code"] == code
    assert (got.exchange.response.status, got.exchange.response.ending) == (0, ending)
    assert got.legs == [("prefill", leg, ending)]
    assert len(got.double.decode.asked) == 1


@STREAMS
@pytest.mark.parametrize(
    ("faults", "status", "ending"), [(row[1], row[2], row[4]) for row in SILENT], ids=[row[0] for row in SILENT]
)
@pytest.mark.parametrize("protocol", CONCURRENT)
def test_a_prefill_that_breaks_ends_the_decode_that_waits_for_it(
    tmp_path: Path, protocol: str, faults: dict[str, Any], status: int, ending: Ending, stream: bool
) -> None:
    """Also where decode has said 200 already, as vLLM does before it has anything to say: the client hears why."""
    got = run(fall(tmp_path / "broken.cassette", protocol, stream=stream, **faults))
    assert (got.status, got.whole) == (status, True)
    assert got.code is not None
    assert (got.exchange.response.status, got.exchange.response.ending) == (0, ending)
    assert {role for role, *_ in got.legs} == {"prefill", "decode"}
    assert {ended for *_, ended in got.legs} <= {ending, GONE}
    assert got.double.decode.counts["aborted"] == 1


@pytest.mark.parametrize("dead", ["prefill", "decode"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nobody_listening_is_a_502_that_says_which_kind_is_missing(tmp_path: Path, protocol: str, dead: str) -> None:
    """Nobody was asked, and nothing is left pinned: both are reached before one is asked."""
    got = run(fall(tmp_path / "down.cassette", protocol, dead=dead))
    assert (got.status, got.code) == (502, "upstream_unreachable")
    assert f"no {dead} server answers" in got.answer.body.decode()
    assert (got.exchange.response.status, got.exchange.response.ending, got.legs) == (0, CUT, [])
    assert got.double.idle


def without(*names: str) -> Tamper:
    """A ticket in which something is missing."""
    return Tamper(lambda ticket: {name: value for name, value in ticket.items() if name not in names})


GARBLED: list[tuple[str, Fault]] = [
    ("no ticket", Tamper(lambda ticket: None)),
    ("text", Tamper(lambda ticket: "ticket")),
    ("empty", Tamper(lambda ticket: {})),
    ("no blocks", without("remote_block_ids")),
    ("no engine", without("remote_engine_id")),
    ("no address", without("remote_host", "remote_port")),
    ("no JSON", Say(200, b"<html>")),
    ("a stream", Say(200, b"data: [DONE]\n\n", (("content-type", "text/event-stream"),))),
]


@STREAMS
@pytest.mark.parametrize("fault", [row[1] for row in GARBLED], ids=[row[0] for row in GARBLED])
def test_a_garbled_ticket_is_never_presented(tmp_path: Path, fault: Fault, stream: bool) -> None:
    """502 `prefill_failed`; what the prefill said is on the cassette; decode's engine lives."""
    got = run(fall(tmp_path / "garbled.cassette", "nixl", stream=stream, prefill=fault))
    assert (got.status, got.code) == (502, "prefill_failed")
    assert got.legs == [("prefill", 200, COMPLETE)]
    assert got.exchange.response.ending is CUT
    assert got.double.decode.healthy
    assert len(got.double.decode.asked) == 1


# The prefill fails, and decode does it alone

FAILING: list[tuple[str, str, dict[str, Any]]] = [
    *(("nixl", name, {"prefill": fault}) for name, fault, _ in ANSWERS),
    *(("nixl", row[0], row[1]) for row in BROKEN),
    *((name, "503", {"prefill": ANSWERS[4][1]}) for name in ("plain", "addr-id", "transfer-id")),
    *((name, row[0], row[1]) for name in ("plain", "addr-id") for row in SILENT),
    *(("transfer-id", row[0], row[1]) for row in SILENT[1:]),  # where both fall silent, decode's silence counts too
    *((name, "refuses", {"dead": "prefill"}) for name in ("plain", "nixl", "addr-id", "transfer-id")),
]


@STREAMS
@pytest.mark.parametrize(
    ("protocol", "faults"), [(row[0], row[2]) for row in FAILING], ids=[f"{row[0]} {row[1]}" for row in FAILING]
)
def test_on_prefill_error_decode(tmp_path: Path, protocol: str, faults: dict[str, Any], stream: bool) -> None:
    """Decode prefills by itself and the client notices nothing; the cassette shows the prefill that failed."""
    request = ask(CHAT, "does it work", stream=stream)
    got = run(fall(tmp_path / "alone.cassette", protocol, stream=stream, on_prefill_error="decode", **faults))
    assert (got.status, got.code, said(got.answer.body)) == (200, None, answer_to(request))
    # One that refused is not tried again for a second.
    assert got.double.decode.counts["local_prefills"] == (2 if "dead" in faults else 1)
    assert got.exchange.response.ending is COMPLETE
    last = got.exchange.legs[-1]
    assert (last.role, last.response.body) == ("decode", got.answer.body)
    assert b"kv_transfer_params" not in last.request.body
    assert "___decode_addr_" not in dict(last.request.headers)["X-Request-Id"]
    assert [role for role, *_ in got.legs].count("prefill") == (0 if "dead" in faults else 1)


@pytest.mark.parametrize("fault", [row[1] for row in GARBLED], ids=[row[0] for row in GARBLED])
def test_on_prefill_error_decode_with_a_garbled_ticket(tmp_path: Path, fault: Fault) -> None:
    """The same."""
    got = run(fall(tmp_path / "alone.cassette", "nixl", prefill=fault, on_prefill_error="decode"))
    assert (got.status, got.double.decode.counts["local_prefills"]) == (200, 1)
    assert got.legs == [("prefill", 200, COMPLETE), ("decode", 200, COMPLETE)]


# The ticket is good for nothing

LOST: list[tuple[str, Fault]] = [
    ("an engine that is gone", Tamper(lambda ticket: ticket | {"remote_engine_id": "another"})),
    ("blocks of somebody else", Tamper(lambda ticket: ticket | {"remote_block_ids": [[999]]})),
    ("a host that is not there", Tamper(lambda ticket: ticket | {"remote_host": "nowhere"})),
]


@STREAMS
@pytest.mark.parametrize("fault", [row[1] for row in LOST], ids=[row[0] for row in LOST])
def test_what_decode_says_of_a_ticket_is_what_the_client_hears(tmp_path: Path, fault: Fault, stream: bool) -> None:
    """500, or in a stream 200 with an error event: decode's words, unchanged; it is asked once."""
    got = run(fall(tmp_path / "lost.cassette", "nixl", stream=stream, prefill=fault))
    _hears_an_engine_error(got, stream)


@STREAMS
@pytest.mark.parametrize("protocol", HANDED_OVER)
def test_an_expired_lease_is_what_decode_says_of_it(tmp_path: Path, protocol: str, stream: bool) -> None:
    """The blocks are gone when decode comes: its words, unchanged, and no second try."""
    got = run(fall(tmp_path / "expired.cassette", protocol, stream=stream, lease=0))
    _hears_an_engine_error(got, stream)
    assert got.double.counts["expired"] == 1


def _hears_an_engine_error(got: Heard, stream: bool) -> None:
    assert (got.status, got.code, got.whole) == (200 if stream else 500, None, True)
    assert b'"type":"InternalServerError"' in got.answer.body
    assert got.answer.body.endswith(b"data: [DONE]\n\n") is stream
    assert got.exchange.response.ending is COMPLETE
    assert [role for role, *_ in got.legs] == ["prefill", "decode"]
    assert len(got.double.decode.asked) == 2  # once for each request


# The decode fails


@STREAMS
@pytest.mark.parametrize(("protocol", "fault", "status"), [row[1:] for row in SAYS_NO], ids=[row[0] for row in SAYS_NO])
def test_a_decode_that_says_no_is_what_the_client_hears(
    tmp_path: Path, protocol: str, fault: Say, status: int, stream: bool
) -> None:
    """Status, fields and body; both legs are on the cassette; it is not asked again."""
    got = run(fall(tmp_path / "no.cassette", protocol, stream=stream, decode=fault))
    assert (got.status, got.code, got.whole, got.answer.body) == (status, None, True, fault.body)
    assert set(fault.fields) <= set(got.answer.headers)
    assert got.exchange.response.ending is COMPLETE
    assert ("decode", status, COMPLETE) in got.legs
    assert {role for role, *_ in got.legs} == {"prefill", "decode"}
    assert len(got.double.decode.asked) == 2


BEFORE_THE_HEAD: list[tuple[str, Fault, int, str, Ending]] = [
    ("is silent", Hang(), 504, "upstream_timeout", TIMEOUT),
    ("resets", Reset(), 502, "upstream_garbled", CUT),
    ("closes", Close(), 502, "upstream_garbled", CUT),
]


@STREAMS
@pytest.mark.parametrize(
    ("fault", "status", "code", "ending"), [row[1:] for row in BEFORE_THE_HEAD], ids=[row[0] for row in BEFORE_THE_HEAD]
)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_decode_that_breaks_before_its_head_is_an_openai_error(
    tmp_path: Path, protocol: str, fault: Fault, status: int, code: str, ending: Ending, stream: bool
) -> None:
    """502 or 504, and both legs as far as they came."""
    got = run(fall(tmp_path / "broken.cassette", protocol, stream=stream, decode=fault))
    assert (got.status, got.code, got.whole) == (status, code, True)
    assert (got.exchange.response.status, got.exchange.response.ending) == (0, ending)
    assert {role for role, *_ in got.legs} == {"prefill", "decode"}
    if protocol not in CONCURRENT:
        assert got.legs == [("prefill", 200, COMPLETE), ("decode", 0, ending)]


@pytest.mark.parametrize("protocol", CONCURRENT)
def test_a_decode_that_breaks_after_its_head_and_before_its_first_word_is_an_openai_error(
    tmp_path: Path, protocol: str
) -> None:
    """vLLM says 200 before it has anything to say; while the prefill still works, nobody has heard of that."""
    cassette = tmp_path / "silent.cassette"

    async def dialogue() -> None:
        async with (
            pair(protocol) as double,
            running(pairing(cassette, double)) as proxy,
            wire.connect(proxy.url) as client,
        ):
            double.prefill.gate.clear()
            client.send(ask(CHAT, "hello", stream=True))
            await double.until(lambda: double.prefill.working == double.decode.working == 1)
            double.kill(double.decode)
            got = await client.answer()
            assert (got.status, got.head.get("x-replayproxy-error"), got.whole) == (502, "upstream_garbled", True)
            await double.until(lambda: double.prefill.counts["aborted"] == 1)

    run(dialogue())
    [exchange] = exchanges(cassette)
    assert (exchange.response.status, exchange.response.ending) == (0, CUT)
    assert [(leg.role, leg.response.ending) for leg in exchange.legs] == [("prefill", GONE), ("decode", CUT)]


AFTER_THE_HEAD: list[tuple[str, Fault, Ending]] = [
    ("stalls", Hang(3), TIMEOUT),
    ("resets", Reset(3), CUT),
    ("closes", Close(3), CUT),
]


@STREAMS
@pytest.mark.parametrize(
    ("fault", "ending"), [row[1:] for row in AFTER_THE_HEAD], ids=[row[0] for row in AFTER_THE_HEAD]
)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_decode_that_breaks_within_its_answer_breaks_the_clients_at_the_same_byte(
    tmp_path: Path, protocol: str, fault: Fault, ending: Ending, stream: bool
) -> None:
    """The bytes so far and an unclean end; the exchange and the leg are marked, and a replay refuses."""
    cassette = tmp_path / "cut.cassette"
    got = run(fall(cassette, protocol, stream=stream, decode=fault))
    assert (got.status, got.whole, got.answer.framing) == (200, False, "chunked" if stream else "length")
    assert len(got.answer.body) == 30 if not stream else got.answer.body.count(b"\n\n") == 3
    assert got.exchange.response.ending is ending
    [leg] = [leg for leg in got.exchange.legs if leg.role == "decode"]
    assert (leg.response.body, leg.response.ending) == (got.answer.body, ending)

    async def again() -> wire.Answer:
        async with running(replaying(cassette)) as proxy:
            return await wire.ask(proxy.url, ask(CHAT, "does it work", stream=stream))

    replayed = run(again())
    assert replayed.status == 404
    assert orjson.loads(replayed.body)["error"]["code"] == "incomplete_only"


@pytest.mark.parametrize("role", ["prefill", "decode"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_that_is_killed_between_its_connection_and_the_request_has_not_been_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str, role: str
) -> None:
    """A connection that was never accepted ends with it: another server answers, and the client hears nothing."""

    async def dialogue() -> None:
        async with pair(protocol, prefills=2, decodes=2) as double:
            async with running(pairing(tmp_path / "a.cassette", double)) as proxy:
                prepare = HttpUpstream.prepare
                victim = {"prefill": double.prefills, "decode": double.decodes}[role][0]

                async def dies_then(source: HttpUpstream) -> None:
                    if source.url != victim.url:
                        await prepare(source)

                request = ask(CHAT, "is anybody there")
                await wire.ask(proxy.url, request)  # whatever is asked of a bootstrap server is known
                double.kill(victim)
                monkeypatch.setattr(HttpUpstream, "prepare", dies_then)
                for _ in range(3):
                    answer = await wire.ask(proxy.url, request)
                    assert (answer.status, said(answer.body)) == (200, answer_to(request))
                assert (await wire.ask(proxy.url, wire.get("/v1/models"))).status == 200
                assert not double.counts["reused"]

    run(dialogue())


def test_decode_alone_is_not_asked_either_where_it_was_killed_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a prefill the other decode server does it by itself."""

    async def dialogue() -> None:
        async with pair("nixl", decodes=2) as double:
            settings = pairing(tmp_path / "a.cassette", double, pair={"on_prefill_error": "decode"})
            async with running(settings) as proxy:
                prepare = HttpUpstream.prepare

                async def dies_then(source: HttpUpstream) -> None:
                    if source.url != double.decodes[0].url:
                        await prepare(source)

                monkeypatch.setattr(HttpUpstream, "prepare", dies_then)
                double.prefill.fault = Say(503, NO, BUSY)
                double.kill(double.decodes[0])
                request = ask(CHAT, "is anybody there")
                for _ in range(2):
                    answer = await wire.ask(proxy.url, request)
                    assert (answer.status, said(answer.body)) == (200, answer_to(request))

    run(dialogue())

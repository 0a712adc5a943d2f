"""A double of a prefill/decode pair: servers that speak HTTP as vLLM 0.32 does and hand KV blocks over by its rules.

    async with pair("nixl", decodes=2) as double:
        … double.prefill.url, double.decode.url, double.counts["read"], double.decode.counts["local_prefills"]

What it is faithful in: single-use tickets, leases, engine ids that change with a restart, a silent local prefill where
there is no ticket, 500 or an error event for blocks that are gone, aborts when a client leaves. What it leaves out:
heartbeats, tensor parallel ranks, and all that a model does. Knows no proxy.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import orjson

from tests.doubles.pair_blocks import Bell, Counts, Lost, Table
from tests.doubles.pair_connectors import AddrId, Connector, Crashed, Nixl, Nothing, Room, TransferId, params_of
from tests.doubles.pair_faults import Close, Fault, Hang, Reset, Say, SayLater, Tamper
from tests.doubles.pair_http import House, Visit
from tests.doubles.pair_model import DONE, MODEL, Answer, Ask, Invalid, error, read

GENERATING = ("/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/messages")


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds a token of the prompt, a hand-over, and a token of the answer take."""

    prefill: float = 0
    transfer: float = 0
    token: float = 0


class Server:
    """One server of a pair. Only a decode takes caches over, only a prefill hands them out; both generate.

    `counts`: `requests` (that generate), `others`, `answered`, `aborted`, `failed`, `local_prefills`. Set `fault` to
    have one, or take `gate` away to keep requests waiting before the model sees them.
    """

    def __init__(self, role: str, connector: Connector, pace: Pace, lease: float, host: str, bell: Bell) -> None:
        self.role = role
        self.counts = Counts(bell)
        self.fault: Fault | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.engine = ""
        self.kv_host = host
        self.kv_port = 0
        self.bootstrap = ""
        self.lease = lease
        self.patience = 30.0
        self.healthy = True
        self._connector = connector
        self._pace = pace
        self._lives = count(1)
        self._ids = count(1)
        self.house = House(self._answer, host)
        self.asked = self.house.heard
        self.under_way: list[Visit] = []

    @property
    def url(self) -> str:
        """Where it is."""
        return self.house.url

    @property
    def kv_address(self) -> str:
        """Where its connector is."""
        return f"{self.kv_host}:{self.kv_port}"

    @property
    def working(self) -> int:
        """How many requests it has in hand."""
        return len(self.under_way)

    async def start(self) -> None:
        """Listen, on the same port as before, as a new engine."""
        await self.house.open()
        self.kv_port = self.kv_port or self.house.port // 2 + 20000
        self.engine = f"engine-{self.house.host}-{self.house.port}-{next(self._lives)}"
        self.healthy = True

    # Requests

    async def _answer(self, visit: Visit) -> None:
        if visit.method == "POST" and visit.path in GENERATING:
            await self._generate(visit)
            return
        self.counts.add("others")
        match visit.method, visit.path:
            case "GET", "/v1/models":
                card = {"id": MODEL, "object": "model", "owned_by": "vllm", "max_model_len": 1024}
                visit.whole(200, orjson.dumps({"object": "list", "data": [card]}))
            case "GET", "/health":
                visit.whole(200 if self.healthy else 503, b"")
            case "GET", "/version":
                visit.whole(200, b'{"version":"0.32.0"}')
            case "POST", "/tokenize":
                tokens = [len(word) for word in str(orjson.loads(visit.body).get("prompt")).split()]
                visit.whole(200, orjson.dumps({"count": len(tokens), "max_model_len": 1024, "tokens": tokens}))
            case _:
                visit.whole(404, b'{"detail":"Not Found"}')

    async def _generate(self, visit: Visit) -> None:
        self.counts.add("requests")
        self.under_way.append(visit)
        ending = "aborted"
        try:
            ending = await self._generate_or_fail(visit)
        finally:
            self.under_way.remove(visit)
            self.counts.add(ending)

    async def _generate_or_fail(self, visit: Visit) -> str:
        """How it ended."""
        match self.fault:
            case Say(status, body, fields):
                visit.whole(status, body, fields)
                return "failed"
            case SayLater(seconds, status, body):
                visit.head(status, (("content-type", "application/json"),), length=len(body))
                await asyncio.sleep(seconds)
                visit.write(body)
                return "failed"
            case Hang(None) | Reset(None) | Close(None) as fault:
                return await self._break(visit, fault)
        try:
            ask = self._understood(visit)
        except Invalid as no:
            visit.whole(400, error(400, str(no), "BadRequestError"))
            return "failed"
        request_id = visit.get("x-request-id") or f"{next(self._ids):016x}"
        try:
            return await self._serve(visit, ask, request_id)
        except BaseException:
            self._connector.left(self, ask, request_id)
            raise

    def _understood(self, visit: Visit) -> Ask:
        try:
            ask = read(visit.path, visit.body)
        except Invalid:
            self._reject(visit.body)
            raise
        if not (visit.get("x-data-parallel-rank") or "0").isdigit():
            raise Invalid("X-data-parallel-rank must be an integer")
        return ask

    def _reject(self, content: bytes) -> None:
        """A request that is refused before the engine sees it: vLLM tells the prefill that nobody comes."""
        try:
            body = orjson.loads(content)
        except orjson.JSONDecodeError:
            return
        if isinstance(body, dict) and isinstance(body.get("kv_transfer_params"), dict):
            self._connector.left(self, Ask("", body, (), 0, 1, stream=False, usage=False), "")

    async def _serve(self, visit: Visit, ask: Ask, request_id: str) -> str:
        if ask.stream:
            visit.head(200, (("content-type", "text/event-stream; charset=utf-8"),))
        await self.gate.wait()
        try:
            if not self.healthy:
                raise Lost("EngineDeadError")
            answer, ticket = await self._model(ask, request_id)
        except Crashed as dead:
            self.healthy = False
            return self._fail(visit, ask, str(dead))
        except Lost as lost:
            return self._fail(visit, ask, str(lost))
        except Invalid as no:
            visit.whole(400, error(400, str(no), "BadRequestError"))
            return "failed"
        if ask.stream:
            return await self._stream(visit, answer)
        body = answer.whole({"kv_transfer_params": ticket})
        if isinstance(self.fault, Hang | Reset | Close):
            visit.head(200, (("content-type", "application/json"),), length=len(body))
            visit.write(body[: (self.fault.after or 0) * 10])
            return await self._break(visit, self.fault)
        await asyncio.sleep(self._pace.token * sum(map(len, answer.choices)))
        visit.whole(200, body)
        return "answered"

    async def _model(self, ask: Ask, request_id: str) -> tuple[Answer, Any]:
        """Take the cache over or fill it, and know what to say."""
        decodes = self.role == "decode"
        loaded = await self._connector.load(self, ask, request_id) if decodes else None
        if loaded is not None:
            await asyncio.sleep(self._pace.transfer)
            return Answer.to(ask, request_id, loaded.prompts, loaded.cached), None
        if decodes:
            self.counts.add("local_prefills")
        await asyncio.sleep(self._pace.prefill * ask.prompt_tokens)
        ticket = None if decodes else await self._connector.prefilled(self, ask, request_id)
        if not decodes and self._connector.stops_by_itself:
            ask = replace(ask, most=1)
        if isinstance(self.fault, Tamper) and ticket is not None:
            ticket = self.fault.change(ticket)
        return Answer.to(ask, request_id, ask.prompts), None if ask.stream else ticket

    async def _stream(self, visit: Visit, answer: Answer) -> str:
        for number, event in enumerate(answer.events()):
            if isinstance(self.fault, Hang | Reset | Close) and number == self.fault.after:
                return await self._break(visit, self.fault)
            visit.chunk(event)
            if event != DONE:
                await asyncio.sleep(self._pace.token)
        visit.end()
        return "answered"

    def _fail(self, visit: Visit, ask: Ask, message: str) -> str:
        """500; in a stream, whose 200 is out already, an event."""
        said = error(500, message, "InternalServerError")
        if ask.stream:
            visit.chunk(b"data: %b\n\n" % said)
            visit.chunk(DONE)
            visit.end()
        else:
            visit.whole(500, said)
        return "failed"

    async def _break(self, visit: Visit, fault: Hang | Reset | Close) -> str:
        match fault:
            case Hang():
                await asyncio.Event().wait()
            case Reset():
                await asyncio.sleep(0.01)  # a reset overtakes what has been written; the test counts what came
                visit.reset()
            case Close():
                visit.close()
        return "failed"


class Pair:
    """The servers, and the table of blocks between them."""

    def __init__(
        self, protocol: str, prefills: int, decodes: int, pace: Pace, lease: float, network: str = "127.0.0"
    ) -> None:
        self.protocol = protocol
        self._bell = Bell()
        self.table = Table(asyncio.get_running_loop().time, self._bell)
        self._engines: dict[str, Any] = {}
        self._addresses: set[str] = set()
        self.reachable = {"127.0.0.1"}
        connectors: dict[str, Callable[[], Connector]] = {
            "plain": lambda: Nothing(self.table),
            "nixl": lambda: Nixl(self.table, self.reachable),
            "transfer-id": lambda: TransferId(self.table, self._engines),
            "addr-id": lambda: AddrId(self.table, self._addresses),
            "bootstrap-room": lambda: Room(self.table, self._engines),
        }
        connector = connectors[protocol]()
        hosts = [f"{network}.{number + 1}" for number in range(prefills)]  # bootstrap servers share a port
        self.prefills = [Server("prefill", connector, pace, lease, host, self._bell) for host in hosts]
        self.decodes = [Server("decode", connector, pace, lease, "127.0.0.1", self._bell) for _ in range(decodes)]
        self.reachable.update(hosts)
        self.bootstrap_port = 0
        self.queries = Counts(self._bell)
        self._desks: dict[Server, House] = {}

    @property
    def prefill(self) -> Server:
        """The first."""
        return self.prefills[0]

    @property
    def decode(self) -> Server:
        """The first."""
        return self.decodes[0]

    @property
    def servers(self) -> list[Server]:
        """All of them."""
        return [*self.prefills, *self.decodes]

    @property
    def counts(self) -> Counts:
        """What became of the blocks."""
        return self.table.counts

    @property
    def idle(self) -> bool:
        """Nobody works, and nothing is pinned."""
        return not any(server.working for server in self.servers) and not self.table.pinned

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds that changes with the counters."""
        await self._bell.until(condition)

    async def start(self, bootstrap_port: int = 0) -> None:
        """All servers, and a bootstrap server beside each prefill."""
        self.bootstrap_port = bootstrap_port
        for server in self.servers:
            await server.start()
            self._addresses.add(server.kv_address)
        for server in self.prefills:
            desk = House(self._desk(server), server.house.host, self.bootstrap_port)
            await desk.open()
            self.bootstrap_port = desk.port
            server.bootstrap = f"{desk.host}:{desk.port}"
            self._desks[server] = desk
            self._engines[server.bootstrap] = self._engines[f"http://{server.bootstrap}"] = server

    def name_connectors(self, prefill: Sequence[str], decode: Sequence[str]) -> None:
        """Say that they are at these addresses. They are names: blocks go through a table."""
        for server, address in (*zip(self.prefills, prefill, strict=True), *zip(self.decodes, decode, strict=True)):
            host, _, port = address.rpartition(":")
            server.kv_host, server.kv_port = host, int(port)
            self._addresses.add(address)

    def _desk(self, server: Server) -> Callable[[Visit], Any]:
        async def answer(visit: Visit) -> None:
            self.queries.add("queries")
            if not server.healthy:
                visit.whole(503, b'{"detail":"not ready"}')
                return
            worker = {"0": {"0": f"tcp://{server.kv_address}"}}
            visit.whole(200, orjson.dumps({"0": {"engine_id": server.engine, "worker_addr": worker}}))

        return answer

    def kill(self, server: Server) -> bytes:
        """SIGKILL: with its bootstrap server and its blocks. Gives what had come to it and was never read."""
        unread = server.house.shut()
        if server in self._desks:
            self._desks[server].shut()
        self.table.forget(server.engine)
        return unread

    async def revive(self, server: Server) -> None:
        """Start it again, at the same addresses."""
        await server.start()
        if server in self._desks:
            await self._desks[server].open()

    def stop(self) -> None:
        """All of them."""
        for house in (*(server.house for server in self.servers), *self._desks.values()):
            house.shut()


@asynccontextmanager
async def pair(
    protocol: str = "nixl",
    *,
    prefills: int = 1,
    decodes: int = 1,
    pace: Pace | None = None,
    lease: float = 30.0,
    bootstrap_port: int = 0,
    network: str = "127.0.0",
) -> AsyncIterator[Pair]:
    """A running pair of this protocol. `network`: three numbers of prefills' addresses, a host each."""
    double = Pair(protocol, prefills, decodes, pace or Pace(), lease, network)
    await double.start(bootstrap_port)
    try:
        yield double
    finally:
        double.stop()


__all__ = ["Close", "Fault", "Hang", "Pace", "Pair", "Reset", "Say", "Server", "Tamper", "pair", "params_of"]

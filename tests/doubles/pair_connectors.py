"""How the servers of a double hand a KV cache over: one class a protocol, as vLLM 0.32's and SGLang's connectors do it.

A prefill calls `prefilled` when its cache is filled, and puts what that gives into its answer; a decode calls `load`
before it generates. None from `load`: there is nothing to take over, it prefills by itself. `left` is called when a
request ended without an answer. Knows no sockets.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any, Protocol

from tests.doubles.pair_blocks import Blocks, Lost, Meetings, Table
from tests.doubles.pair_model import Ask, Invalid

NEEDED = ("remote_engine_id", "remote_request_id", "remote_host", "remote_port")


class Crashed(Exception):
    """What takes the engine with it."""


class Side(Protocol):
    """What a connector knows of the server it is in."""

    engine: str
    kv_host: str
    kv_port: int
    bootstrap: str
    patience: float
    lease: float


@dataclass(frozen=True, slots=True)
class Loaded:
    """Whose cache a decode generates from: a prompt for each that was asked."""

    prompts: tuple[str, ...]
    cached: int


class Connector(Protocol):
    """One end of a hand-over."""

    stops_by_itself: bool
    """A prefill generates one token, whatever it is asked for."""

    async def prefilled(self, side: Side, ask: Ask, request_id: str) -> dict[str, Any] | None:
        """The cache of these prompts is full. Gives the ticket, where the protocol has one."""
        ...

    async def load(self, side: Side, ask: Ask, request_id: str) -> Loaded | None:
        """Take the cache over. Raises `Lost`, `Invalid`, `Crashed`."""
        ...

    def left(self, side: Side, ask: Ask, request_id: str) -> None:
        """The request ended before its answer did."""
        ...


def params_of(ask: Ask) -> dict[str, Any]:
    """The transfer parameters of a request."""
    params = ask.body.get("kv_transfer_params")
    return params if isinstance(params, dict) else {}


def _all_from(blocks: Blocks, ask: Ask) -> Loaded:
    """All prompts of a list are given the one ticket, and so the first one's cache."""
    return Loaded((blocks.prompt,) * len(ask.prompts), blocks.cached)


class Nothing:
    """`plain`: a store that both can see, found by content."""

    stops_by_itself = False

    def __init__(self, table: Table) -> None:
        self._table = table
        self._stored: set[str] = set()

    async def prefilled(self, side: Side, ask: Ask, request_id: str) -> None:
        """Into the store, where nothing is ever freed."""
        self._stored.update(ask.prompts)

    async def load(self, side: Side, ask: Ask, request_id: str) -> Loaded | None:
        """Out of the store."""
        if not self._stored.issuperset(ask.prompts):
            return None
        self._table.counts.add("read")
        return Loaded(ask.prompts, ask.prompt_tokens)

    def left(self, side: Side, ask: Ask, request_id: str) -> None:
        """The store keeps what it has."""


class Nixl:
    """`nixl`: a ticket in the prefill's answer. `reachable`: hosts at which side channels can be reached."""

    stops_by_itself = False

    def __init__(self, table: Table, reachable: set[str]) -> None:
        self._table = table
        self._reachable = reachable

    async def prefilled(self, side: Side, ask: Ask, request_id: str) -> dict[str, Any] | None:
        """Pin, and hand the ticket out; of several prompts only the first one's."""
        if not params_of(ask).get("do_remote_decode"):
            return None
        pinned = [
            self._table.pin(side.engine, f"{request_id}-{number}", prompt, side.lease)
            for number, prompt in enumerate(ask.prompts)
        ]
        return {
            "do_remote_prefill": True,
            "do_remote_decode": False,
            "remote_block_ids": pinned[0].ids,
            "remote_engine_id": side.engine,
            "remote_request_id": pinned[0].name,
            "remote_host": side.kv_host,
            "remote_port": side.kv_port,
            "tp_size": 1,
            "dcp_size": 1,
            "pp_size": 1,
            "remote_num_tokens": ask.prompt_tokens,
            "remote_blocks_expiry_time": None,
            "transfer_mode": "pull",
            "remote_prefill_cached_tokens": pinned[0].cached,
        }

    async def load(self, side: Side, ask: Ask, request_id: str) -> Loaded | None:
        """Shake hands with the engine of the ticket, and read its blocks."""
        params = params_of(ask)
        if not params.get("do_remote_prefill"):
            return None
        if not params.get("remote_block_ids"):
            raise Crashed("assert num_external_tokens == 0")
        if any(params.get(name) is None for name in NEEDED):
            await asyncio.sleep(side.patience)  # vLLM warns, and the request waits for what nobody sends
            raise Lost("WAITING_FOR_REMOTE_KVS")
        if params["remote_host"] not in self._reachable:
            raise Lost(f"NIXL handshake with {params['remote_host']} failed")
        blocks = self._table.read(params["remote_engine_id"], params["remote_request_id"], params["remote_block_ids"])
        return _all_from(blocks, ask)

    def left(self, side: Side, ask: Ask, request_id: str) -> None:
        """Decode tells prefill that it does not come."""
        params = params_of(ask)
        if params.get("do_remote_prefill"):
            self._table.release(params.get("remote_engine_id"), params.get("remote_request_id"))


class TransferId:
    """`transfer-id`: decode waits at the engine for the id. `engines`: which engine is behind a bootstrap address."""

    stops_by_itself = False

    def __init__(self, table: Table, engines: dict[str, Side]) -> None:
        self._table = table
        self._engines = engines
        self._meetings = Meetings()

    async def prefilled(self, side: Side, ask: Ask, request_id: str) -> None:
        """Pin under the id."""
        params = params_of(ask)
        if params.get("do_remote_decode") and params.get("transfer_id"):
            self._table.pin(side.engine, params["transfer_id"], ask.prompts[0], side.lease)
            self._meetings.come(params["transfer_id"], "prefill")

    async def load(self, side: Side, ask: Ask, request_id: str) -> Loaded | None:
        """Wait for the prefill under the id, and read its blocks."""
        params = params_of(ask)
        if not params.get("do_remote_prefill"):
            return None
        name, engine = params["transfer_id"], params["remote_engine_id"]
        home = self._engines.get(params["remote_bootstrap_addr"])
        if home is None or home.engine != engine:
            raise Lost(f"no engine {engine} at {params['remote_bootstrap_addr']}")
        await self._meetings.wait_for(name, "prefill", side.patience)
        return _all_from(self._table.read(engine, name), ask)

    def left(self, side: Side, ask: Ask, request_id: str) -> None:
        """Decode tells prefill that it does not come."""
        params = params_of(ask)
        if params.get("do_remote_prefill"):
            self._table.release(params.get("remote_engine_id"), params.get("transfer_id"))


class AddrId:
    """`addr-id`: prefill sends to the address in the request id, where decode finds it. `addresses`: who listens."""

    stops_by_itself = False

    def __init__(self, table: Table, addresses: set[str]) -> None:
        self._table = table
        self._addresses = addresses
        self._meetings = Meetings()

    async def prefilled(self, side: Side, ask: Ask, request_id: str) -> None:
        """Send to decode's buffer."""
        target = re.search(r"___decode_addr_(.*):(\d+)", request_id)
        if target is None or f"{target[1]}:{target[2]}" not in self._addresses:
            raise Lost(f"request id {request_id} does not contain the address of a decode")
        self._table.pin("sent", request_id, ask.prompts[0], side.lease)
        self._meetings.come(request_id, "prefill")

    async def load(self, side: Side, ask: Ask, request_id: str) -> Loaded | None:
        """Out of the buffer."""
        source = re.search(r"___prefill_addr_(.*):(\d+)___", request_id)
        if source is None:
            return None
        if f"{source[1]}:{source[2]}" not in self._addresses:
            raise Lost(f"request id {request_id} does not contain the address of a prefill")
        if f"___decode_addr_{side.kv_host}:{side.kv_port}_" not in request_id:
            raise Lost(f"request id {request_id} is for another decode")
        await self._meetings.wait_for(request_id, "prefill", side.patience)
        return _all_from(self._table.read("sent", request_id), ask)

    def left(self, side: Side, ask: Ask, request_id: str) -> None:
        """What is in the buffer is dropped with the request."""
        if f"___decode_addr_{side.kv_host}:{side.kv_port}_" in request_id:
            self._table.release("sent", request_id)


class Room:
    """`bootstrap-room`: both wait until both are there. Servers of this kind do nothing else."""

    stops_by_itself = True

    def __init__(self, table: Table, engines: dict[str, Side]) -> None:
        self._table = table
        self._engines = engines
        self._meetings = Meetings()

    def _rooms(self, ask: Ask) -> list[tuple[str, int]]:
        hosts, ports, rooms = (ask.body.get(f"bootstrap_{name}") for name in ("host", "port", "room"))
        batch = len(ask.prompts) * ask.n
        if batch == 1 and not isinstance(rooms, list):
            hosts, ports, rooms = [hosts], [ports], [rooms]
        if not (isinstance(hosts, list) and isinstance(ports, list) and isinstance(rooms, list)):
            raise Invalid("bootstrap_room is required in PD disaggregation mode, one for each sequence")
        if not len(hosts) == len(ports) == len(rooms) == batch or not all(isinstance(room, int) for room in rooms):
            raise Invalid(f"bootstrap_room needs {batch} rooms")
        return [(f"{host}:{port}", room) for host, port, room in zip(hosts, ports, rooms, strict=True)]

    async def prefilled(self, side: Side, ask: Ask, request_id: str) -> None:
        """Wait in the rooms, and hand over."""
        rooms = self._rooms(ask)
        for number, (address, room) in enumerate(rooms):
            if address != side.bootstrap:
                raise Lost(f"{address} is not my bootstrap server")
            self._table.pin(address, str(room), ask.prompts[number // ask.n], side.lease)
            self._meetings.come(room, "prefill")
        for _, room in rooms:
            await self._meetings.wait_for(room, "decode", side.patience)

    async def load(self, side: Side, ask: Ask, request_id: str) -> Loaded | None:
        """Wait in the rooms, and take over."""
        found = []
        for address, room in self._rooms(ask):
            if address not in self._engines:
                raise Lost(f"there is no bootstrap server at {address}")
            self._meetings.come(room, "decode")
            await self._meetings.wait_for(room, "prefill", side.patience)
            found.append(self._table.read(address, str(room)))
        return Loaded(tuple(blocks.prompt for blocks in found[:: ask.n]), sum(blocks.cached for blocks in found))

    def left(self, side: Side, ask: Ask, request_id: str) -> None:
        """Whoever leaves a room frees what waits in it."""
        for address, room in self._rooms(ask):
            self._table.release(address, str(room))

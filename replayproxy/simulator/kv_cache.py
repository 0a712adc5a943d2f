"""The blocks of a KV cache: which of them running requests hold, which are cached, and which are evicted next.

    free ──allocate──▶ held ──full──▶ held and cached ──release──▶ idle (cached) ──needed for another──▶ evicted

As vLLM has it: full blocks are shared by their hash, the last token of a prompt is always computed, idle blocks go in
the order of their last use, and of one request its last block first. Other than vLLM it never preempts: a request is
admitted when the blocks that it may come to need are free beside those that were promised to others.

Knows no time and no socket. What changes in it becomes events, which `kv_events` writes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from replayproxy.simulator.block_hashes import BlockHash, BlockHashing


@dataclass(frozen=True, slots=True)
class BlocksStored:
    """Blocks that follow one another were cached. `parent` is the block before the first one, or None."""

    hashes: tuple[BlockHash, ...]
    parent: BlockHash | None
    tokens: tuple[int, ...]
    block_size: int
    adapter: str | None = None
    adapter_id: int | None = None


@dataclass(frozen=True, slots=True)
class BlocksRemoved:
    """Blocks were evicted."""

    hashes: tuple[BlockHash, ...]


@dataclass(frozen=True, slots=True)
class CacheCleared:
    """All cached blocks were dropped."""


CacheEvent = BlocksStored | BlocksRemoved | CacheCleared


class CacheTooSmall(ValueError):
    """A request that the whole cache cannot hold. Carries the numbers of blocks: needed and existing."""

    def __init__(self, needed: int, existing: int) -> None:
        super().__init__(f"the request needs {needed} blocks of a KV cache of {existing}")
        self.needed = needed
        self.existing = existing


@dataclass(slots=True, eq=False)
class Allocation:
    """The blocks of one running request."""

    adapter: str | None
    adapter_id: int | None
    cached_tokens: int
    """Tokens of the prompt that were found in the cache."""
    root: BlockHash
    shared: list[BlockHash] = field(default_factory=list)
    """Its full blocks in their order."""
    tail: list[int] = field(default_factory=list)
    """The tokens after the last full block."""
    pending: int | None = None
    """The last generated token: it is computed, and thus cached, when the one after it is generated."""
    promised: int = 0
    """Blocks that it may still need."""

    @property
    def last(self) -> BlockHash | None:
        """The hash of its last full block."""
        return self.shared[-1] if self.shared else None


class KvCache:
    """A cache of `blocks` blocks. `shares` False: blocks are counted and never cached, and there is always room.

    `usage` is then at most 1, as if vLLM would hold more requests than fit.
    """

    def __init__(
        self, blocks: int, block_size: int = 16, hashing: BlockHashing | None = None, *, shares: bool = True
    ) -> None:
        self.blocks = blocks
        self.block_size = block_size
        self.shares = shares
        self._hashing = hashing or BlockHashing()
        self._holders: dict[BlockHash, int] = {}
        """Of each cached block, how many running requests hold it."""
        self._idle: OrderedDict[BlockHash, None] = OrderedDict()
        """Cached blocks without a holder, in the order in which they will be evicted."""
        self._unshared = 0
        """Held blocks that are not full."""
        self._promised = 0
        self._roots: dict[str, BlockHash] = {}
        self._events: list[CacheEvent] = []

    @property
    def held(self) -> int:
        """Blocks of running requests."""
        return len(self._holders) - len(self._idle) + self._unshared

    @property
    def usage(self) -> float:
        """The share of blocks that running requests hold, 0 to 1."""
        return min(1.0, self.held / self.blocks) if self.blocks else 0.0

    def take_events(self) -> list[CacheEvent]:
        """What has changed since the last call."""
        events, self._events = self._events, []
        return events

    # The life of a request

    def hit(self, tokens: Sequence[int], model: str, adapter: str | None = None) -> int:
        """How many tokens at the start of a prompt are cached. Changes nothing."""
        return len(self._found(self._hashes(tokens, model, adapter), len(tokens))) * self.block_size

    def allocate(
        self,
        tokens: Sequence[int],
        most_new: int,
        model: str,
        adapter: str | None = None,
        adapter_id: int | None = None,
    ) -> Allocation | None:
        """Take the blocks of a prompt. None: it has no room, with at most so many tokens after it, beside the others.

        Raises `CacheTooSmall` where it would not fit even if nothing else ran.
        """
        allocation = Allocation(adapter, adapter_id, 0, self._root(model, adapter))
        at_first = self._blocks_of(len(tokens))
        if not self.shares:
            allocation.tail = list(tokens)
            self._unshared += at_first
            return allocation
        needed = self._blocks_of(len(tokens) + most_new)
        if needed > self.blocks:
            raise CacheTooSmall(needed, self.blocks)
        hashes = self._hashes(tokens, model, adapter)
        found = self._found(hashes, len(tokens))
        shared = sum(1 for block in found if self._holders[block])
        if self.held + self._promised + needed - shared > self.blocks:
            return None
        allocation.cached_tokens = len(found) * self.block_size
        for block in found:
            self._hold(block, allocation)
        self._store(hashes[len(found) :], tokens[allocation.cached_tokens :], allocation)
        allocation.tail = list(tokens[len(hashes) * self.block_size :])
        if allocation.tail:
            self._take()
        allocation.promised = needed - at_first
        self._promised += allocation.promised
        return allocation

    def append(self, allocation: Allocation, token: int) -> None:
        """A request has generated a token."""
        computed, allocation.pending = allocation.pending, token
        if computed is None:
            return
        size = self.block_size
        if len(allocation.tail) % size == 0:
            if allocation.promised:
                allocation.promised -= 1
                self._promised -= 1
            self._take()
        allocation.tail.append(computed)
        if self.shares and len(allocation.tail) == size:
            block = self._hashing.hash(allocation.last or allocation.root, allocation.tail, allocation.adapter)
            tokens, allocation.tail = allocation.tail, []
            self._unshared -= 1
            if block in self._holders:
                self._hold(block, allocation)
            else:
                self._store([block], tokens, allocation)

    def release(self, allocation: Allocation) -> None:
        """A request has ended: its full blocks stay cached until their place is needed."""
        self._unshared -= self._blocks_of(len(allocation.tail))
        self._promised -= allocation.promised
        allocation.tail, allocation.promised = [], 0
        for block in reversed(allocation.shared):
            self._holders[block] -= 1
            if not self._holders[block]:
                self._idle[block] = None
        allocation.shared = []

    def clear(self) -> None:
        """Forget all blocks that no running request holds, as `/reset_prefix_cache` and `/sleep` do."""
        for block in self._idle:
            del self._holders[block]
        self._idle.clear()
        self._events.append(CacheCleared())

    # Blocks

    def _root(self, model: str, adapter: str | None) -> BlockHash:
        name = adapter if adapter is not None else model
        root = self._roots.get(name)
        if root is None:
            if len(self._roots) >= 1000:  # adapters come and go: 100 kB
                self._roots.clear()
            root = self._roots[name] = self._hashing.root(name)
        return root

    def _hashes(self, tokens: Sequence[int], model: str, adapter: str | None) -> list[BlockHash]:
        if not self.shares:
            return []
        return self._hashing.hashes(tokens, self.block_size, self._root(model, adapter), adapter)

    def _found(self, hashes: Sequence[BlockHash], length: int) -> list[BlockHash]:
        """The cached blocks at the start; without that of the last token, which is computed in any case."""
        found: list[BlockHash] = []
        for block in hashes[: max(0, length - 1) // self.block_size]:
            if block not in self._holders:
                break
            found.append(block)
        return found

    def _hold(self, block: BlockHash, allocation: Allocation) -> None:
        self._holders[block] += 1
        self._idle.pop(block, None)
        allocation.shared.append(block)

    def _store(self, hashes: Sequence[BlockHash], tokens: Sequence[int], allocation: Allocation) -> None:
        """Cache blocks that follow the last one of an allocation. One that is cached already is shared."""
        size = self.block_size
        parent, start = allocation.last, 0
        new: list[BlockHash] = []
        for index, block in enumerate(hashes):
            if block in self._holders:
                self._report(new, parent, tokens[start : index * size], allocation)
                parent, new, start = block, [], (index + 1) * size
                self._hold(block, allocation)
                continue
            self._evict()
            self._holders[block] = 1
            allocation.shared.append(block)
            new.append(block)
        self._report(new, parent, tokens[start : len(hashes) * size], allocation)

    def _report(
        self, hashes: list[BlockHash], parent: BlockHash | None, tokens: Sequence[int], allocation: Allocation
    ) -> None:
        if hashes:
            self._events.append(
                BlocksStored(
                    tuple(hashes),
                    parent,
                    tuple(tokens),
                    self.block_size,
                    allocation.adapter,
                    allocation.adapter_id,
                )
            )

    def _take(self) -> None:
        """A block that is not full."""
        if self.shares:
            self._evict()
        self._unshared += 1

    def _evict(self) -> None:
        """Make place for one block where none is free."""
        if len(self._holders) + self._unshared >= self.blocks and self._idle:
            block, _ = self._idle.popitem(last=False)
            del self._holders[block]
            self._events.append(BlocksRemoved((block,)))

    def _blocks_of(self, tokens: int) -> int:
        return -(-tokens // self.block_size)

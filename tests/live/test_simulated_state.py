"""The simulator's metrics are named as those of a running vLLM, and vLLM's own code reads the events of its cache."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from pathlib import Path

import msgpack
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from replayproxy.simulator.block_hashes import BlockHashing, as_number
from replayproxy.simulator.kv_cache import KvCache
from replayproxy.simulator.kv_events import EventLog
from tests.doubles.simulated_state import completion, server
from tests.live.server import RealVllm

NOT_SIMULATED = {
    "vllm:estimated_flops_per_gpu",
    "vllm:estimated_read_bytes_per_gpu",
    "vllm:estimated_write_bytes_per_gpu",
    "vllm:tool_call_parser_invocations",
}
"""There is no model whose operations could be counted, and no parser of tool calls."""

HOME = Path(os.environ.get("REPLAYPROXY_REAL_VLLM", Path.home() / ".cache/replayproxy/real-vllm"))

READER = """
import json, sys
import msgspec
from vllm.distributed.kv_events import KVEventBatch
from vllm.utils.hashing import sha256_cbor
from vllm.v1.core import kv_cache_utils
kv_cache_utils.init_none_hash(sha256_cbor)
blocks, parent = [], None
for extra in (None, (("lora", "sql"),)):
    parent = None
    for start in (0, 16):
        parent = kv_cache_utils.hash_block_tokens(sha256_cbor, parent, range(start, start + 16), extra)
        blocks.append(kv_cache_utils.maybe_convert_block_hash(parent))
batch = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=KVEventBatch)
same = msgspec.msgpack.encode(batch)
print(json.dumps({"events": [repr(event) for event in batch.events], "rank": batch.data_parallel_rank,
                  "blocks": blocks, "same": same.hex()}))
"""
"""vLLM decodes a batch and hashes the blocks that are in it."""


def shapes(page: str) -> dict[str, tuple[str, set[tuple[str, tuple[str, ...]]]]]:
    """The metrics of vLLM on a page: their kind, and their samples with labels; buckets with their bounds."""
    return {
        family.name: (family.type, _samples(family))
        for family in text_string_to_metric_families(page)
        if family.name.startswith("vllm:")
    }


def _samples(family: Metric) -> set[tuple[str, tuple[str, ...]]]:
    # What a label says of one server is its own; its names, reasons, sources and bounds are everybody's.
    own = {"vllm:cache_config_info"}
    return {
        (
            sample.name,
            tuple(sorted(sample.labels if family.name in own else (f"{k}={v}" for k, v in sample.labels.items()))),
        )
        for sample in family.samples
    }


def test_metrics_have_the_names_kinds_labels_and_buckets_of_vllm(vllm: RealVllm) -> None:
    """Each metric of a vLLM that has answered a request; besides these the simulator has none."""
    body = json.dumps({"model": "tiny", "prompt": "One two three", "max_tokens": 3}).encode()
    asked = urllib.request.Request(f"{vllm.url}/v1/completions", body, {"content-type": "application/json"})
    urllib.request.urlopen(asked).read()
    real = shapes(urllib.request.urlopen(f"{vllm.url}/metrics").read().decode())
    simulated = server(longest=2048)
    simulated.play((0.0, "/v1/completions", completion([1, 2, 3])))
    ours = shapes(simulated.get("/metrics").body.decode())
    left_out = {name for name in real if name.removesuffix("_created") in NOT_SIMULATED}
    assert left_out, "what is named as not simulated is not there any more"
    assert ours.keys() == real.keys() - left_out
    assert {name: shape for name, shape in ours.items() if shape != real[name]} == {}


def test_vllm_decodes_our_events_and_hashes_blocks_as_we_do() -> None:
    """With its own structs; encoded again by vLLM they are the same bytes."""
    cache = KvCache(8, 16, BlockHashing(seed="7"))
    for adapter, number in ((None, None), ("sql", 3)):
        allocation = cache.allocate(range(32), 0, "tiny", adapter, number)
        assert allocation is not None
        cache.release(allocation)
    stored = cache.take_events()
    expected = [block for event in stored for block in getattr(event, "hashes", ())]
    cache.clear()
    (batch,) = EventLog(batch_size=3, rank=1).add([*stored, *cache.take_events()], 0, 1_760_000_000_500_000_000)
    ran = subprocess.run(
        [HOME / "venv/bin/python", "-c", READER],
        input=batch.payload,
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        check=True,
    )
    read = json.loads(ran.stdout.splitlines()[-1])
    assert read["blocks"] == [as_number(block) for block in expected]
    assert [event.partition("(")[0] for event in read["events"]] == ["BlockStored", "BlockStored", "AllBlocksCleared"]
    assert "lora_name='sql'" in read["events"][1]
    assert read["rank"] == 1
    assert msgpack.unpackb(bytes.fromhex(read["same"])) == msgpack.unpackb(batch.payload)

"""Each flag of llm-d-inference-sim is taken: it is a setting of `simulate`, or is named as without effect."""

from __future__ import annotations

import pytest

from replayproxy.cli.peer_flags import WITHOUT_EFFECT
from replayproxy.setting_table import of_verb

NAMES = """
config port model served-model-name lora-modules max-loras max-cpu-loras max-model-len max-num-seqs mode
time-to-first-token time-to-first-token-std-dev inter-token-latency inter-token-latency-std-dev
kv-cache-transfer-latency kv-cache-transfer-latency-std-dev seed max-tool-call-integer-param
min-tool-call-integer-param max-tool-call-number-param min-tool-call-number-param max-tool-call-array-param-length
min-tool-call-array-param-length tool-call-not-required-param-probability
object-tool-call-not-required-field-probability enable-kvcache kv-cache-size block-size tokenizers-cache-dir hash-seed
zmq-endpoint zmq-max-connect-attempts event-batch-size failure-injection-rate failure-types fake-metrics
add_dir_header alsologtostderr log_backtrace_at log_dir log_file log_file_max_size logtostderr one_output skip_headers
skip_log_headers stderrthreshold v vmodule
max-waiting-queue-length max-request-body-size-mb startup-duration enable-sleep-mode no-enable-sleep-mode
enable-request-id-headers log-http mm-encoder-only no-mm-encoder-only omni no-omni image-emission-rate
latency-calculator prefill-overhead prefill-time-per-token prefill-time-std-dev kv-cache-transfer-time-per-token
kv-cache-transfer-time-std-dev time-to-generate-image time-to-generate-image-std-dev time-factor-under-load
tool-call-extra-call-probability skip-tool-validation global-cache-hit-threshold use-vllm-map-event-format
kv-events-replay-endpoint kv-events-replay-queue-size fake-metrics-refresh-interval data-parallel-rank dataset-path
dataset-url dataset-in-memory dataset-table-name render-url render-timeout mm-render-timeout force-dummy-tokenizer
default-embedding-dimensions ssl-certfile ssl-keyfile self-signed-certs mm-processor-kwargs ec-transfer-config
enforce-eager no-enforce-eager enable-prefix-caching no-enable-prefix-caching tensor-parallel-size
"""
"""Those of its documentation in the first lines, those of later versions after them."""

STATE = "simulation.state."


@pytest.mark.parametrize("name", NAMES.split())
def test_each_flag_is_taken(name: str) -> None:
    """`--config` is the verb's own, and `--mode` another name of a setting."""
    rows = {row.name.replace("_", "-") for row in of_verb("simulate")} | {
        row.also.removeprefix("--") for row in of_verb("simulate") if row.also is not None
    }
    assert name in rows | WITHOUT_EFFECT | {"config"}


def test_every_state_has_its_field() -> None:
    """A setting that goes nowhere would be without effect; the number of ranks is that of the servers started."""
    elsewhere = {row.name for row in of_verb("simulate", "state") if not (row.goes_to or "").startswith(STATE)}
    assert elsewhere == {"data_parallel_size"}

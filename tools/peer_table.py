"""Writes the table of docs/simulator.md: what the documents of three other programs name, and the test that shows it.

python -m tools.peer_table          writes the table; `python -m tools.reference` does so too

A row is a thing that a document names, and either a test of this repository or the reason why it is not here.
tests/docs/test_peer_table.py sees that each test exists, and that no flag, endpoint, metric or failure is missing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).parents[1] / "docs" / "simulator.md"

BEGIN, END = "<!-- written by make reference -->", "<!-- until here -->"

STATE, PEER = "simulator/test_state.py", "cli/test_peer_flags.py"
SERVED, FAKE = "simulator/test_served_metrics.py", "simulator/test_fake_metrics.py"
CHAT, COMPLETIONS = "simulator/test_chat.py", "simulator/test_completions.py"
TEXT, LATENCY, ENGINE = "simulator/test_text.py", "simulator/test_latency.py", "simulator/test_engine.py"
FAILURES, SCHEMA = "core/faults/test_failure_answers.py", "simulator/test_schema.py"
PLUGIN = "vllm_plugin"
TAKEN = "setting_table/test_simulated_state.py::test_each_flag_is_taken"


class PeerRow(NamedTuple):
    """Things of one kind, as their document spells them, and a test (`FOLDER/FILE::TEST`) or a sentence."""

    kind: str
    names: str
    shown: str

    @property
    def is_tested(self) -> bool:
        """Whether a test shows it."""
        return "::" in self.shown


MOCK_MODEL = (
    PeerRow("mode", "RANDOM_MODE", f"{PLUGIN}/test_executor.py::test_random_tokens_obey_the_grammar_of_their_request"),
    PeerRow("mode", "CAPTURE_MODE", f"{PLUGIN}/test_capture.py::test_a_captured_answer_is_a_recording_with_the_time_of_each_token"),
    PeerRow("mode", "REPLAY_MODE", f"{PLUGIN}/test_executor.py::test_a_recording_comes_out_token_by_token"),
    PeerRow("variable", "FORWARD_TIME", f"{PLUGIN}/test_step_timing.py::test_a_step_lasts_for_its_forward_time_at_least"),
    PeerRow("flag", "--forward-time, its equivalent here", f"{LATENCY}::test_first_token"),
    PeerRow("variable", "SIMULATE_ELAPSED_TIME", f"{PLUGIN}/test_engine_requests.py::test_a_step_ends_with_the_slowest_of_its_requests"),
    PeerRow("variable", "KV_CACHE_MODE, PREFILL_PROCESS", f"{PLUGIN}/test_kv_cache.py::test_the_roles_must_agree"),
    PeerRow("variable", "MOCK_CAPTURE_DIR, MOCK_CAPTURE_FILE", f"{PLUGIN}/test_variables.py::test_a_folder_and_a_file_name_the_cassette"),
    PeerRow("variable", "MOCK_CAPTURE_FILE_LOCK", "has no effect: SQLite locks the cassette"),
    PeerRow("variable", "MOCK_COMPUTE_LOGITS", f"{PLUGIN}/test_token_logprobs.py::test_made_up_logprobs_fall_and_are_the_same_each_time"),
    PeerRow("variable", "TORCH_COMPILE_MODE_MOCK, NO_NPU_MOCK", "has no effect: no model is compiled, and no device is used"),
    PeerRow("feature", "offline, one node, several nodes, without NPU", "docs/vllm-plugin.md has a recipe for each"),
)  # fmt: skip

AIBRIX = (
    PeerRow("endpoint", "POST /v1/chat/completions", f"{CHAT}::test_a_whole_answer_has_all_keys"),
    PeerRow("endpoint", "GET /metrics", f"{STATE}::test_metrics_follow_the_load_up_and_down"),
    PeerRow("endpoint", "POST /set_metrics", f"{SERVED}::test_values_are_set_and_taken_back"),
    PeerRow("feature", "bearer token, test-key-1234567890", "simulator/test_simulator.py::test_a_key_is_checked_under_v1"),
    PeerRow("feature", "metrics inversely proportional to the replicas", f"{SERVED}::test_totals_are_shared_among_replicas"),
    PeerRow("metric", "vllm:request_success_total, vllm:avg_prompt_throughput_toks_per_s, vllm:avg_generation_throughput_toks_per_s", f"{SERVED}::test_totals_are_shared_among_replicas"),
    PeerRow("metric", "gpu_cache_usage_perc, set to 75.0", f"{SERVED}::test_values_are_set_and_taken_back"),
    PeerRow("feature", "routing-strategy and rpm/tpm of the gateway", "those are the gateway's; a header that the simulator does not know is ignored, and --rpm and --tpm limit requests here"),
    PeerRow("feature", "vidur, a high-fidelity simulation", "not here: latencies are given, or fitted on a cassette"),
    PeerRow("feature", "deployment with kubectl", "examples/test_deploy.py::test_what_the_manifests_are_for"),
)  # fmt: skip

LLM_D = (
    PeerRow("endpoint", "/v1/chat/completions", f"{CHAT}::test_a_stream_has_a_role_tokens_and_an_end"),
    PeerRow("endpoint", "/v1/completions", f"{COMPLETIONS}::test_a_whole_answer_has_all_keys"),
    PeerRow("endpoint", "/v1/models", "simulator/test_models.py::test_the_list_has_names_and_adapters"),
    PeerRow("endpoint", "/v1/load_lora_adapter, /v1/unload_lora_adapter", f"{STATE}::test_an_adapter_is_a_model_while_it_is_loaded"),
    PeerRow("endpoint", "/metrics", f"{STATE}::test_metrics_follow_the_load_up_and_down"),
    PeerRow("endpoint", "/health, /ready", "simulator/test_server.py::test_probes_are_answered_without_a_body"),
    PeerRow("metric", "vllm:num_requests_running, vllm:num_requests_waiting", f"{STATE}::test_metrics_follow_the_load_up_and_down"),
    PeerRow("metric", "vllm:gpu_cache_usage_perc", f"{SERVED}::test_a_generation_is_chosen"),
    PeerRow("metric", "vllm:lora_requests_info", f"{STATE}::test_adapters_take_turns_and_show_in_metrics"),
    PeerRow("mode", "echo", f"{TEXT}::test_echo_repeats_what_was_said"),
    PeerRow("mode", "random", f"{TEXT}::test_random_text_is_sentences_or_words"),
    PeerRow("flag", "config", f"{PEER}::test_a_file_is_taken_as_it_is"),
    PeerRow("flag", "port, model", f"{PEER}::test_the_command_line_of_the_documentation"),
    PeerRow("flag", "served-model-name", "simulator/test_models.py::test_a_name_is_resolved"),
    PeerRow("flag", "lora-modules", f"{PEER}::test_the_command_line_of_the_documentation"),
    PeerRow("flag", "max-loras", f"{STATE}::test_adapters_take_turns_and_show_in_metrics"),
    PeerRow("flag", "max-cpu-loras", "simulator/test_state_options.py::test_options_that_do_not_fit_together"),
    PeerRow("flag", "max-model-len", f"{CHAT}::test_what_vllm_refuses_is_refused"),
    PeerRow("flag", "max-num-seqs", f"{ENGINE}::test_more_than_max_num_seqs_wait_in_their_order"),
    PeerRow("flag", "mode", f"{PEER}::test_a_file_is_taken_as_it_is"),
    PeerRow("flag", "time-to-first-token, kv-cache-transfer-latency", f"{LATENCY}::test_first_token"),
    PeerRow("flag", "inter-token-latency", f"{LATENCY}::test_next_token"),
    PeerRow("flag", "time-to-first-token-std-dev, inter-token-latency-std-dev, kv-cache-transfer-latency-std-dev", f"{LATENCY}::test_samples_have_their_mean_and_deviation"),
    PeerRow("flag", "seed", "simulator/test_simulator.py::test_a_thousand_requests_in_any_order_get_the_same_bytes"),
    PeerRow("flag", "max-tool-call-integer-param, min-tool-call-integer-param, max-tool-call-number-param, min-tool-call-number-param, max-tool-call-array-param-length, min-tool-call-array-param-length", f"{SCHEMA}::test_ranges_are_those_of_the_settings"),
    PeerRow("flag", "tool-call-not-required-param-probability, object-tool-call-not-required-field-probability", f"{SCHEMA}::test_what_is_required_is_there_and_the_rest_sometimes"),
    PeerRow("flag", "enable-kvcache, kv-cache-size", f"{STATE}::test_a_cached_prefix_shortens_the_prefill_and_shows_in_usage"),
    PeerRow("flag", "block-size", "simulator/test_state_options.py::test_options_that_do_not_fit_together"),
    PeerRow("flag", "hash-seed", "simulator/test_block_hashes.py::test_hashes_of_llm_d_inference_sim"),
    PeerRow("flag", "zmq-endpoint", "test_simulated_server.py::test_a_subscriber_that_missed_batches_gets_them_all"),
    PeerRow("flag", "event-batch-size", "simulator/test_kv_events.py::test_a_batch_leaves_when_it_is_full_or_a_second_old"),
    PeerRow("flag", "tokenizers-cache-dir", "has no effect: tokens are made without a vocabulary"),
    PeerRow("flag", "zmq-max-connect-attempts", "has no effect: ZeroMQ connects again until a subscriber listens"),
    PeerRow("flag", "failure-injection-rate", "core/faults/test_choice.py::test_failures_are_drawn_as_percent_of_generation"),
    PeerRow("flag", "failure-types", f"{FAILURES}::test_every_type_of_failure_is_listed"),
    PeerRow("failure", "rate_limit, invalid_api_key, context_length, server_error, invalid_request, model_not_found", f"{FAILURES}::test_named_failures_are_those_of_llm_d"),
    PeerRow("flag", "fake-metrics", f"{FAKE}::test_the_example_of_the_documentation"),
    PeerRow("fake metric", "running-requests, waiting-requests, kv-cache-usage, loras", f"{FAKE}::test_the_example_of_the_documentation"),
    PeerRow("flag", "add_dir_header, alsologtostderr, log_backtrace_at, log_dir, log_file, log_file_max_size, logtostderr, one_output, skip_headers, skip_log_headers, stderrthreshold, v, vmodule", f"{PEER}::test_what_has_no_effect_is_said"),
    PeerRow("variable", "POD_NAME, POD_NAMESPACE", "simulator/test_pod.py::test_fields_of_answers"),
    PeerRow("feature", "tools, with arguments of their JSON schema", f"{CHAT}::test_tool_calls_are_streamed_as_vllm_does"),
    PeerRow("feature", "prefill and decode on two servers", f"{CHAT}::test_a_prefill_hands_out_a_ticket"),
    PeerRow("feature", "max-running-requests and lora, before 0.2", f"{PEER}::test_words"),
    PeerRow("feature", "an image, and a Deployment", "examples/test_deploy.py::test_the_arguments_are_understood"),
    PeerRow("later flag", "startup-duration", "has no effect: /ready answers as soon as the port is open"),
    PeerRow("later flag", "dataset-path, dataset-url, dataset-in-memory, dataset-table-name", "have no effect: `replay` answers from recordings"),
    PeerRow("later flag", "render-url, render-timeout, mm-render-timeout, force-dummy-tokenizer", "have no effect: tokens are made without a vocabulary"),
    PeerRow("later flag", "omni, mm-encoder-only, image-emission-rate, time-to-generate-image", "have no effect: images are not invented"),
    PeerRow("later flag", "latency-calculator", "has no effect: --time-to-first-token counts where it is given, else the time per token"),
    PeerRow("later flag", "global-cache-hit-threshold", "has no effect: no answer ends with cache_threshold"),
    PeerRow("later flag", "enable-sleep-mode, use-vllm-map-event-format, skip-tool-validation", "have no effect: so it is in any case"),
    PeerRow("later flag", "log-http, enable-request-id-headers", "have no effect: nothing of a request is logged, and ids follow from the seed"),
    PeerRow("later flag", "max-request-body-size-mb, self-signed-certs", "have no effect: use --max-body and --ssl-certfile"),
    PeerRow("later flag", "enforce-eager, enable-prefix-caching, tensor-parallel-size, mm-processor-kwargs, ec-transfer-config", "have no effect there either"),
    PeerRow("later flag", "data-parallel-size", "test_lifetime.py::test_ranks_serve_on_ports_of_their_own"),
)  # fmt: skip

DOCUMENTS = {
    "The mock model inside vLLM": MOCK_MODEL,
    "AIBrix's mocked vLLM application": AIBRIX,
    "llm-d-inference-sim": LLM_D,
}


def table() -> str:
    """The section's text."""
    parts = []
    for title, rows in DOCUMENTS.items():
        lines = [
            f"| {row.kind} | {_code(row)} | {f'`{row.shown}`' if row.is_tested else _sentence(row)} |" for row in rows
        ]
        parts.append("\n".join((f"### {title}", "", "| | | test, or why not |", "|---|---|---|", *lines)))
    return "\n\n".join(parts)


def _code(row: PeerRow) -> str:
    plain = row.kind == "feature" or " " in row.names.replace(", ", "").replace("POST ", "").replace("GET ", "")
    return row.names if plain else ", ".join(f"`{name}`" for name in row.names.split(", "))


def _sentence(row: PeerRow) -> str:
    return re.sub(r"(?<!`)(--[a-z-]+|/ready)(?!`)", r"`\1`", row.shown)


def page() -> str:
    """docs/simulator.md with the table as it is now."""
    before, _, rest = FILE.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


if __name__ == "__main__":
    FILE.write_text(page(), "utf-8")

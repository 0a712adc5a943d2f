"""vLLM without a server and, but for the capture, without weights: random tokens, a capture, its replay.

usage: offline.py random|capture|replay [--tensor-parallel-size 2] [--cassette offline.cassette]

Run it with the interpreter of the environment that `install` made. It prints one JSON object per answer.
"""

import argparse
import json
import os
import pathlib
import sys

HOME = pathlib.Path(os.environ.pop("REPLAYPROXY_REAL_VLLM", pathlib.Path.home() / ".cache/replayproxy/real-vllm"))

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")

PROMPTS = [f"{number}: tell me of the river and the stone" for number in range(5)]


def main() -> None:
    """Generate for a few prompts, greedily."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["random", "capture", "replay"])
    parser.add_argument("--tensor-parallel-size", type=int, default=1)
    parser.add_argument("--cassette", default="offline.cassette")
    options = parser.parse_args()

    # Before vLLM starts its engine, which inherits them.
    os.environ["REPLAYPROXY_ENGINE_MODE"] = options.mode
    os.environ["REPLAYPROXY_CASSETTE"] = options.cassette
    # Several workers of the real model share the cores of one machine: vLLM wants to be told which is whose.
    cores = sorted(os.sched_getaffinity(0))
    shares = [str(cores[worker % len(cores)]) for worker in range(options.tensor_parallel_size)]
    if len(shares) > 1:
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "|".join(shares))
    from vllm import LLM, SamplingParams

    llm = LLM(
        model=str(HOME / ("tiny" if options.mode == "capture" else "no-weights")),
        distributed_executor_backend="replayproxy.vllm_plugin.CassetteExecutor",
        tensor_parallel_size=options.tensor_parallel_size,
        dtype="bfloat16",
        enforce_eager=True,
        max_model_len=2048,
    )
    for output in llm.generate(PROMPTS, SamplingParams(temperature=0, max_tokens=16), use_tqdm=False):
        (answer,) = output.outputs
        parts = {"prompt": output.prompt, "text": answer.text, "finish_reason": answer.finish_reason}
        sys.stdout.write(json.dumps(parts | {"token_ids": list(answer.token_ids)}) + "\n")


if __name__ == "__main__":
    main()

"""Writes the table of clients in docs/faults.md: what openai-python, openai-node, httpx and curl do after each fault.

    python -m tools.fault_table          runs all clients, and writes the table
    python -m tools.fault_table httpx    prints the column of one of them

Each client has its defaults. It asks a simulator for a streamed chat, once per fault, and says what it saw; what it did
on the wire is what the simulator's report says. openai-node comes from the lock file of examples/node (`npm ci`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from replayproxy import simulate

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "faults.md"
BEGIN, END = "<!-- clients: written by python -m tools.fault_table -->", "<!-- end of clients -->"

FAULTS = (
    "cut@0",
    "cut@3",
    "cut-clean@3",
    "reset@0",
    "reset@3",
    "garbage@3",
    "stall@3,for=6s",
    "slow-start,for=6s",
    "status=429,retry-after=1",
    "status=503",
    "status=401",
)
"""Each happens to the first request alone, so that a repetition gets a whole answer."""

BODY = {
    "model": "tiny",
    "messages": [{"role": "user", "content": "Hello"}],
    "stream": True,
    "max_tokens": 8,
    "min_tokens": 8,
    "ignore_eos": True,
}

# Each program gets URLs with /v1, asks all of them at once, and prints a JSON list of what it saw of each: `whole`,
# `short` (an answer without finish reason, and no error), or the name of an error.

_OPENAI = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
import openai
def saw(url):
    try:
        finish = None
        for chunk in openai.OpenAI(base_url=url, api_key="-").chat.completions.create(**json.loads(sys.argv[1])):
            finish = finish or (chunk.choices[0].finish_reason if chunk.choices else None)
        return "whole" if finish else "short"
    except Exception as error:
        return type(error).__name__
with ThreadPoolExecutor(32) as pool:
    print(json.dumps([openai.__version__, *pool.map(saw, sys.argv[2:])]))
"""

_HTTPX = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
import httpx
def saw(url):
    try:
        answer = httpx.post(url + "/chat/completions", json=json.loads(sys.argv[1]))
        answer.raise_for_status()
        return "whole" if "[DONE]" in answer.text else "short"
    except Exception as error:
        return type(error).__name__
with ThreadPoolExecutor(32) as pool:
    print(json.dumps([httpx.__version__, *pool.map(saw, sys.argv[2:])]))
"""

_NODE = """
import OpenAI from "openai";
import { readFileSync } from "node:fs";
const body = JSON.parse(process.argv[2]);
async function saw(baseURL) {
  try {
    let finish = null;
    const stream = await new OpenAI({ baseURL, apiKey: "-" }).chat.completions.create(body);
    for await (const chunk of stream) finish = finish || chunk.choices[0]?.finish_reason;
    return finish ? "whole" : "short";
  } catch (error) {
    return error.constructor.name;
  }
}
const version = JSON.parse(readFileSync("node_modules/openai/package.json")).version;
console.error = () => {};
console.log(JSON.stringify([version, ...(await Promise.all(process.argv.slice(3).map(saw)))]));
"""


def openai_python(urls: Sequence[str]) -> list[str]:
    """Run the SDK for Python."""
    extra = {name: BODY[name] for name in ("min_tokens", "ignore_eos")}  # the SDK has no keywords for them
    body = {name: value for name, value in BODY.items() if name not in extra}
    return _json([sys.executable, "-c", _OPENAI, json.dumps(body | {"extra_body": extra}), *urls])


def httpx(urls: Sequence[str]) -> list[str]:
    """Run httpx, which reads the whole answer."""
    return _json([sys.executable, "-c", _HTTPX, json.dumps(BODY), *urls])


def openai_node(urls: Sequence[str]) -> list[str]:
    """Run the SDK for Node.js, installed from the lock file of the example."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(ROOT / "examples" / "node" / name, folder)
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=folder, check=True, timeout=300)
        (Path(folder) / "client.js").write_text(_NODE)
        return _json(["node", "client.js", json.dumps(BODY), *urls], folder)


def curl(urls: Sequence[str]) -> list[str]:
    """Run curl, with its exit code as the name of an error."""
    head = ["curl", "--silent", "--fail", "-H", "Content-Type: application/json", "-d", json.dumps(BODY)]
    running = [subprocess.Popen([*head, f"{url}/chat/completions"], stdout=subprocess.PIPE) for url in urls]
    seen = []
    for process in running:
        out, _ = process.communicate(timeout=120)
        whole = "whole" if b"[DONE]" in out else "short"
        seen.append(f"exit code {process.returncode}" if process.returncode else whole)
    version = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    return [version, *seen]


CLIENTS = {"openai-python": openai_python, "openai-node": openai_node, "httpx": httpx, "curl": curl}


def _json(command: list[str], folder: str | None = None) -> list[str]:
    ran = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True, timeout=300, env=os.environ | {"NO_PROXY": "*"}
    )
    seen: list[str] = json.loads(ran.stdout)
    return seen


def column(client: str) -> tuple[str, list[str]]:
    """The version of a client, and its cell for each fault."""
    with ExitStack() as stack:
        proxies = [
            stack.enter_context(simulate("tiny", fail=[f"{fault},first=1"], port=0, drain=0)) for fault in FAULTS
        ]
        version, *seen = CLIENTS[client]([proxy.base_url for proxy in proxies])
        retries = [proxy.client_faults[0].retries for proxy in proxies]
    return version, [cell(*each) for each in zip(FAULTS, seen, retries, strict=True)]


def cell(fault: str, seen: str, retries: int) -> str:
    """What the program saw, after how many repetitions."""
    has_garbage = fault.startswith("garbage") and not retries
    what = {
        "whole": "**garbage in the answer, no error**" if has_garbage else "whole answer",
        "short": "**short answer, no error**",
    }.get(seen, f"`{seen}`")
    again = {0: "", 1: "asks again: "}.get(retries, f"asks again {retries} times: ")
    return f"{again}{what}"


def table() -> str:
    """The table in Markdown, with the versions below it."""
    columns = {client: column(client) for client in CLIENTS}
    lines = [f"| fault | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    lines += [
        f"| `{fault}` | {' | '.join(cells[place] for _, cells in columns.values())} |"
        for place, fault in enumerate(FAULTS)
    ]
    versions = ", ".join(f"{client} {version}" for client, (version, _) in columns.items())
    return "\n".join([*lines, "", f"Versions: {versions}."])


def main(client: str | None = None) -> None:
    """Write the page, or print one column."""
    if client is not None:
        version, cells = column(client)
        print(client, version)
        for fault, cell in zip(FAULTS, cells, strict=True):
            print(f"{fault:26} {cell}")
        return
    page = PAGE.read_text("utf-8")
    written = f"{BEGIN}\n\n{table()}\n\n{END}"
    PAGE.write_text(re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: written, page, flags=re.DOTALL), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])

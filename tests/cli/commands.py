"""What `exec` is given to run in its tests, and `exec` itself as a real process.

    ran = execute(cassette, "--fail-unused", "--", *asking("hello"))        ran.code, ran.out, ran.err

A command is a Python one-liner with the standard library's client, so that nothing here knows an SDK.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.cli.tapes import Ran, chat, writing
from tests.forked import run
from tests.processes import environment

_ASK = """
import json, os, sys, urllib.error, urllib.request
for prompt in sys.argv[1:]:
    body = {"model": "tiny", "messages": [{"role": "user", "content": prompt}], "stream": True}
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    asked = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        print(prompt, urllib.request.urlopen(asked).status, flush=True)
    except urllib.error.HTTPError as error:
        print(prompt, error.code, flush=True)
"""


def asking(*prompts: str) -> list[str]:
    """A command that asks each of these once, and tells the statuses; it ends with 0 whatever they are."""
    return python(_ASK, *prompts)


def python(program: str, *arguments: str) -> list[str]:
    """A command that runs this program."""
    return [sys.executable, "-c", program, *arguments]


def tape(path: Path, *prompts: str) -> Path:
    """A cassette with a chat for each of these."""
    with writing(path) as keep:
        keep(*(chat(prompt, started=1000 * number) for number, prompt in enumerate(prompts)))
    return path


def execute(*arguments: str | Path, stdin: str = "", **variables: str) -> Ran:
    """`replayproxy exec ARGUMENTS…` to its end, with these variables."""
    known = {name: value for name, value in environment().items() if not name.startswith("GITHUB_")}
    ran = run(["exec", *arguments], stdin=stdin, env={**known, **variables})
    return Ran(ran.returncode, ran.stdout, ran.stderr)

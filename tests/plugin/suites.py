"""Suites for pytest to run within a test: a folder with tests in it, a cassette, and a live server.

The suites ask by `http.client`, so that nothing but the plugin stands between a test and its proxy.
"""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from replayproxy.api.server import simulate
from tests import recordings

# A run within a test drops the modules that it has imported. The next one would import them anew, and the members of
# an enumeration would be others than those in modules that stayed: so all are imported before the first run.
for module in ("api.proxy_thread", "app", "admin.service", "lifetime", "pytest_plugin.cassettes", "api.options"):
    import_module(f"replayproxy.{module}")
for module in ("sqlite_utils.db", "urllib.request"):  # of 0.2 s that a run took, these were the half
    import_module(module)

CLIENT = '''
import json
import urllib.error
import urllib.request

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(base_url, content, **more):
    """The status and the text of an answer."""
    body = {"model": "tiny", "messages": [{"role": "user", "content": content}], **more}
    headers = {"Content-Type": "application/json", "Authorization": "Bearer secret"}
    request = urllib.request.Request(f"{base_url}/chat/completions", json.dumps(body).encode(), headers)
    try:
        with OPENER.open(request, timeout=30) as answer:
            return answer.status, json.load(answer)["choices"][0]["message"]["content"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["error"]["code"]
'''


class Suite:
    """A folder of tests, and what pytest makes of it."""

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("CI", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
            monkeypatch.delenv(name, raising=False)
        self.pytester = pytester
        self.path = pytester.path
        pytester.makepyfile(client=CLIENT)
        pytester.makeini(INI)

    def tests(self, **files: str) -> None:
        """Write test files; each begins with `ask`."""
        head = "from client import ask\nimport pytest\n"
        self.pytester.makepyfile(**{name: head + textwrap.dedent(text) for name, text in files.items()})

    def cassette(self, name: str, *prompts: str) -> Path:
        """A cassette under `cassettes/` whose answers repeat the prompts."""
        path = Path(os.path.normpath(self.path / "cassettes" / name))
        path.parent.mkdir(parents=True, exist_ok=True)
        said = [
            recordings.exchange(
                recordings.asked(prompt),
                recordings.said(
                    [recordings.whole_answer(f"{prompt}!")], headers=(("Content-Type", "application/json"),)
                ),
                number,
            )
            for number, prompt in enumerate(prompts)
        ]
        return recordings.record(path, said)

    def run(self, *flags: str | Path, own_process: bool = False, with_all: bool = False) -> pytest.RunResult:
        """Run it: here, or in a process of its own; with our plugin and xdist alone, or with all that are installed.

        To find and load these takes longer than most of the runs.
        """
        run = self.pytester.runpytest_subprocess if own_process else self.pytester.runpytest_inprocess
        with pytest.MonkeyPatch.context() as variables:
            if with_all:
                return run("-p", "no:cacheprovider", *flags)
            variables.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
            # pytest 9.0 warns that it is imported already: by this process
            known = ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]
            ours = [] if "no:replayproxy" in flags else ["-p", "replayproxy", *known]
            xdist = ["-p", "xdist"] if "-n" in flags else []
            return run("-p", "no:cacheprovider", *ours, *xdist, *flags)

    def report(self, *flags: str, **more: Any) -> dict[str, Any]:
        """Run it, and read its report."""
        self.run("--replayproxy-report", "report.json", *flags, **more)
        report: dict[str, Any] = json.loads((self.path / "report.json").read_text())
        return report


INI = """
[pytest]
addopts = -ra --strict-markers
pythonpath = .
filterwarnings = error
"""


@contextmanager
def simulator() -> Iterator[str]:
    """The URL of a live server: what `replayproxy simulate --model tiny` serves."""
    with simulate("tiny") as server:
        yield server.url

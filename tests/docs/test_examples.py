"""The examples of the pages run as they stand there, pasted block after block into one shell in one folder.

What they need is there, as the pages suppose: a server on port 8000 (a simulator), a prefill/decode pair, cassettes, an
`npm` that asks the server twice, a test file. Ports are others, because something may listen on those. A block that is
nothing but one command that serves is started, waited for and ended. What cannot run here is in `NOT_RUN`, with the
reason; that its commands parse is tested in tests/test_documentation.py.
"""

from __future__ import annotations

import re
import shlex
import shutil
from importlib import import_module
from pathlib import Path

import orjson
import pytest
import yaml

from replayproxy import Cassette
from tests.docs.pages import NAMES, blocks
from tests.docs.ports import free_ports, moved
from tests.examples.folders import shell, understood
from tests.processes import Proxy, running

NOT_RUN = {
    "pip install .": "the tests run in an environment in which it is installed",
    "pytest --replayproxy-mode once": "runs within pytest, below",
    "replayproxy simulate --model tiny": "the quick start has a test of its own, below",
    "replayproxy record pair.cassette": "needs a pair: tests/net/test_pair.py and tests/live/test_pair.py",
    "replayproxy verify pair.cassette --pair": "needs a recording of a pair: tests/views/test_pair_check.py",
    "replayproxy join pair.cassette": "needs recordings of a pair: tests/cassette has those",
}
SERVING = re.compile(r"replayproxy (?:record|replay|auto|simulate|web)\b[^&\n]*\n")
ASK = {"model": "tiny", "max_tokens": 4, "messages": [{"role": "user", "content": "Hello"}]}
NPM = """\
#!/bin/sh
curl -sf "$OPENAI_BASE_URL/chat/completions" -H 'Content-Type: application/json' -d @ask.json &&
curl -sf "$OPENAI_BASE_URL/chat/completions" -H 'Content-Type: application/json' -d @ask.json
"""

pytestmark = pytest.mark.timeout(300)
"""A page starts a dozen processes, one after the other."""

RUN = [(name, block) for name in NAMES for block in blocks(name, "sh") if not name.endswith("cli.md")]


def reason(block: str) -> str | None:
    """Why a block is not run."""
    return next((why for start, why in NOT_RUN.items() if block.startswith(start)), None)


def test_what_is_not_run_is_written() -> None:
    """An entry without its block says nothing any more."""
    assert {start for start in NOT_RUN if not any(block.startswith(start) for _, block in RUN)} == set()


@pytest.fixture(scope="module")
def cassette(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of `ask.json`, twice, made through the real proxy."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "ask.json").write_bytes(orjson.dumps(ASK))
    path = folder / "chat.cassette"
    with running("simulate", "--model", "tiny", "--port", "0") as server:
        with running("record", path, "--upstream", server.url, "--port", "0", "--admin-port", "off") as proxy:
            asked = f"curl -sf {proxy.url}/v1/chat/completions -H 'Content-Type: application/json' -d @ask.json"
            assert shell(f"{asked} && {asked}", folder).returncode == 0
    return path


@pytest.fixture
def folder(tmp_path: Path, cassette: Path) -> Path:
    """What the pages suppose to be there."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "bin").mkdir()
    for name in ("chat.cassette", "tests/chat.cassette", "pair.cassette"):
        shutil.copy(cassette, tmp_path / name)
    (tmp_path / "ask.json").write_bytes(orjson.dumps(ASK))
    (tmp_path / "bin" / "npm").write_text(NPM)
    (tmp_path / "bin" / "npm").chmod(0o755)
    assert shell("git init -q", tmp_path).returncode == 0
    return tmp_path


def served(block: str, folder: Path) -> bool:
    """Whether a block is nothing but one command that serves; it has then been started and ended."""
    if SERVING.fullmatch(block) is None:
        return False
    words = [str(folder / word) if word.endswith(".cassette") else word for word in shlex.split(block)[1:]]
    proxy = Proxy(*words)
    assert proxy.stop() == 0, proxy.said
    return True


@pytest.mark.parametrize("name", sorted({name for name, block in RUN if not reason(block)}))
def test_the_examples_of_a_page_run(name: str, folder: Path) -> None:
    """Each block ends with 0, in the order of the page."""
    ports = free_ports()
    with running("simulate", "--model", "tiny", "--port", ports["8000"]) as server:
        for block in (block for page, block in RUN if page == name and not reason(block)):
            if "replayproxy simulate" in block:
                server.stop()  # the block starts its own on this port
            script = moved(block, ports)
            if served(script, folder):
                continue
            ran = shell(f"set -e\n{script}", folder, folder / "bin")
            assert ran.returncode == 0, f"{name}:\n{script}\n{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}"


def test_the_quick_start_replays_what_it_recorded(folder: Path) -> None:
    """Twice the same bytes on stdout, with what `show` says between them."""
    (block,) = (block for block in blocks("README.md", "sh") if "replayproxy show" in block)
    (folder / "chat.cassette").unlink()
    ran = shell(f"set -e\n{moved(block, free_ports())}", folder)
    assert ran.returncode == 0, ran.stderr
    live, replayed = re.findall(r"(?:^data: .*\n\n)+", ran.stdout, re.MULTILINE)
    assert live == replayed
    assert live.count("data: ") > 4
    assert "first content: TTFT" in ran.stdout.partition(live)[2].partition(replayed)[0]


def test_completion_is_offered(tmp_path: Path) -> None:
    """What the block evaluates is a script of bash that knows the verbs."""
    block = next(block for _, block in RUN if block.startswith("replayproxy completion bash"))
    asked = "COMP_WORDS='replayproxy verif' COMP_CWORD=1 _REPLAYPROXY_COMPLETE=bash_complete replayproxy"
    ran = shell(f"{block}\ncomplete -p replayproxy\n{asked}", tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "plain,verify"


@pytest.mark.parametrize("name", ["README.md", "docs/pytest.md"])
def test_tests_of_the_pages_pass(name: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded once from a simulator with the page's own options, then replayed without it."""
    for variable in ("CI", "PYTEST_ADDOPTS", "OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    pytester.makepyfile(blocks(name, "python")[0])
    (record,) = (block for block in blocks(name, "sh") if block.startswith("pytest --replayproxy-mode once"))
    import_module("openai")  # a run within a test drops the modules that it has imported: else each would do it
    words = shlex.split(record.splitlines()[0], comments=True)[1:]
    with running("simulate", "--model", "tiny", "--port", "0") as server:
        words = [server.url if word == "http://127.0.0.1:8000" else word for word in words]
        pytester.runpytest(*words).assert_outcomes(passed=1)
    pytester.runpytest().assert_outcomes(passed=1)


def test_the_marker_of_the_page_is_understood(pytester: pytest.Pytester, cassette: Path) -> None:
    """Its test is collected and passes; it asks for nothing."""
    pytester.makepyfile(blocks("docs/pytest.md", "python")[1])
    pytester.mkdir("cassettes")
    shutil.copy(cassette, pytester.path / "cassettes" / "chat.cassette")
    pytester.runpytest("--replayproxy-unused", "ignore").assert_outcomes(passed=1)


def test_the_program_of_the_readme_runs(folder: Path) -> None:
    """It prints the exchanges of a cassette, each with the text of its answer, and an address."""
    with Cassette.open(folder / "chat.cassette") as cassette:
        bodies = [(exchange.id, orjson.loads(exchange.response.body)) for exchange in cassette]
    expected = [f"{id} 200 {body['choices'][0]['message']['content']}" for id, body in bodies]
    assert len(expected) == 2
    ran = shell(f"python -W error - << 'END'\n{blocks('README.md', 'python')[1]}END", folder)
    assert ran.returncode == 0, ran.stderr
    *printed, address = ran.stdout.splitlines()
    assert printed == expected
    assert re.search(r"http://127\.0\.0\.1:\d+/v1$", address)


def test_the_configuration_file_is_understood(folder: Path) -> None:
    """The block of YAML, used as its first line says."""
    (block,) = (block for block in blocks("docs/operation.md", "yaml") if block.startswith("# replayproxy --config"))
    ports = free_ports()
    with running("simulate", "--port", ports["8000"]):
        text = re.sub(r"\b(8000|8080)\b", lambda found: ports[found[1]], block)
        (folder / "replayproxy.yaml").write_text(text)
        words = shlex.split(block.splitlines()[0].removeprefix("# replayproxy "))
        words = [str(folder / word) if word.endswith((".yaml", ".cassette")) else word for word in words]
        proxy = Proxy(*words, "--admin-port", "off")
        assert proxy.url.endswith(f":{ports['8080']}")
        assert proxy.stop() == 0


def test_the_sidecar_starts_with_words_that_are_understood() -> None:
    """The container's arguments parse, and its probes are paths of the admin port."""
    (block,) = (block for block in blocks("docs/operation.md", "yaml") if block.startswith("containers:"))
    (container,) = yaml.safe_load(block)["containers"]
    understood(list(map(str, container["args"])))
    probes = {container[probe]["httpGet"]["path"] for probe in ("readinessProbe", "livenessProbe")}
    assert probes == {"/ready", "/health"}
    assert {port["containerPort"] for port in container["ports"]} == {8080, 8081}

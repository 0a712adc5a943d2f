"""The examples of the pages on other ports than those that they name: something may listen there already."""

from __future__ import annotations

import re

from tests.unused_ports import unused_port

PORTS = ("8000", "8080", "8081")


def free_ports() -> dict[str, str]:
    """For each port of the pages another one."""
    return {port: str(unused_port()) for port in PORTS}


def moved(block: str, ports: dict[str, str]) -> str:
    """A block on other ports; the defaults of commands are said where they are not written."""
    serving = {"simulate": "8000", "record": "8080", "replay": "8080"}
    for verb, port in serving.items():
        block = re.sub(rf"(replayproxy {verb}\b)(?![^\n]*--port)", rf"\1 --port {port}", block)
    for verb in ("record", "replay"):
        block = re.sub(rf"(replayproxy {verb}\b)(?![^\n]*--admin-port)", r"\1 --admin-port 8081", block)
    block = re.sub(r"(replayproxy ctl \w+)", r"\1 --admin http://127.0.0.1:8081", block)
    return re.sub(r"\b(8000|8080|8081)\b", lambda found: ports[found[1]], block)

"""The examples of the pages on other ports than those that they name: something may listen there already."""

from __future__ import annotations

import re
import socket

PORTS = ("8000", "8080", "8081")


def free_ports() -> dict[str, str]:
    """For each port of the pages another one."""
    sockets = [socket.socket() for _ in PORTS]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return {port: str(one.getsockname()[1]) for port, one in zip(PORTS, sockets, strict=True)}
    finally:
        for one in sockets:
            one.close()


def moved(block: str, ports: dict[str, str]) -> str:
    """A block on other ports; the defaults of commands are said where they are not written."""
    serving = {"simulate": "8000", "record": "8080", "replay": "8080"}
    for verb, port in serving.items():
        block = re.sub(rf"(replayproxy {verb}\b)(?![^\n]*--port)", rf"\1 --port {port}", block)
    for verb in ("record", "replay"):
        block = re.sub(rf"(replayproxy {verb}\b)(?![^\n]*--admin-port)", r"\1 --admin-port 8081", block)
    block = re.sub(r"(replayproxy ctl \w+)", r"\1 --admin http://127.0.0.1:8081", block)
    return re.sub(r"\b(8000|8080|8081)\b", lambda found: ports[found[1]], block)

"""The doors: parse, call, print."""

from replayproxy.cli.main import main

__all__ = ["main"]

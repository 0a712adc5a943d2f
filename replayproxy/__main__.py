"""`python -m replayproxy`."""

from replayproxy.cli import main

main()

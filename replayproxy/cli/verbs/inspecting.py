"""`web`: show cassettes in a browser. Parses options and serves; the pages are in `admin/inspector`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from replayproxy import output_files
from replayproxy.cli.options import plain_option
from replayproxy.cli.setting_options import setting_options
from replayproxy.cli.terminal import messages
from replayproxy.errors import setting

if TYPE_CHECKING:
    from replayproxy.admin.inspector.service import WebOptions

FILE = click.Path(path_type=Path)


@click.command
@click.argument("cassette", type=FILE, nargs=-1, required=True)
@setting_options("web", "listen")
@plain_option("--report", type=FILE, help="Report of a run: its misses, and recordings that it has not used.")
def web(cassette: tuple[Path, ...], report: Path | None, **options: Any) -> int:
    """Show CASSETTE in a browser: overview, exchanges, statistics, chunks over time.

    Nothing is changed, and nothing is loaded from elsewhere. A cassette may be recorded meanwhile. On another address
    than loopback a token is needed, which is part of the printed URL.

    \b
    Examples:
      replayproxy web chat.cassette
      replayproxy web tests/cassettes/*.cassette --report report.json --port 0
    """
    from replayproxy.admin.inspector.service import WebOptions, read_token
    from replayproxy.cassette.browse import CassetteBrowser
    from replayproxy.cli.judging.receipt import ReportFile
    from replayproxy.lifetime import on_loop

    for path in cassette:  # a name that is mistyped is an error now, not a page later
        CassetteBrowser.open(path).cassette.close()
    token_file, ready_file = options["token_file"], options["ready_file"]
    web_options = WebOptions(
        cassettes=cassette,
        host=options["host"],
        port=options["port"],
        allowed_hosts=options["allowed_host"],
        token=None if token_file is None else read_token(token_file, "token_file"),
        report=None if report is None else ReportFile.read(report).result,
    )
    if ready_file is not None:
        output_files.refuse(ready_file, setting("ready_file"), cassette)
    try:
        on_loop(_serve(web_options, ready_file))
    finally:
        if ready_file is not None and ready_file.is_file():
            ready_file.unlink()
    return 0


async def _serve(options: WebOptions, ready_file: Path | None) -> None:
    """Serve until a signal arrives."""
    import orjson

    from replayproxy.admin.inspector.service import serve_pages
    from replayproxy.lifetime import Stops, listen_for_signals

    stops = Stops()
    listen_for_signals(stops.receive)

    def ready(url: str) -> None:
        if ready_file is not None:
            document = {"url": url, "admin_url": None, "pid": os.getpid()}
            output_files.write(ready_file, orjson.dumps(document), setting("ready_file"), options.cassettes)
        messages.info(f"{url} shows {', '.join(map(str, options.cassettes))}; Ctrl-C ends it", url=url, pid=os.getpid())

    await serve_pages(options, stops.first, ready)

"""`wait` and `ctl`: ask a running proxy, or any server, from outside. Know URLs and answers, not what runs there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlencode

import click

from replayproxy.cli.options import option, plain_option
from replayproxy.cli.setting_options import click_type
from replayproxy.cli.subcommands import Subcommands
from replayproxy.cli.terminal import messages
from replayproxy.cli.terminal.output import Output, output_family
from replayproxy.cli.terminal.screen import Screen, Span
from replayproxy.cli.terminal.table import Column, layout
from replayproxy.errors import ReplayProxyError, SettingsError, UpstreamError
from replayproxy.setting_kinds import Duration
from replayproxy.views.units import duration, plural

if TYPE_CHECKING:
    from replayproxy.model import Request, Response
    from replayproxy.proxy.result import RunResult

TIMED_OUT = 124
"""As timeout(1) has it."""


@click.command
@click.argument("url", envvar="REPLAYPROXY_URL")
@option("--timeout", type=click_type(Duration()), default="30s", help="Maximum time to wait.")
def wait(url: str, timeout: float) -> int:
    """Wait until a proxy, or any OpenAI-compatible server, answers at URL: /health, or /v1/models where that is 404.

    Exit code 124: it did not answer within --timeout.

    \b
    Example:
      replayproxy wait http://127.0.0.1:8080 --timeout 60s
    """
    # The client is loaded only when it is to ask, not for --help and completion; so below.
    from replayproxy.lifetime import on_loop
    from replayproxy.net.clock import SystemClock
    from replayproxy.net.waiting import answering

    url = url.rstrip("/").removesuffix("/v1")  # OPENAI_BASE_URL has it

    async def waited() -> str | None:
        clock = SystemClock()
        try:
            return await answering(url, clock, clock.now() + round(timeout * 1e9))
        finally:
            clock.close()

    seen = on_loop(waited())
    if seen is None:
        return 0
    messages.error(f"{url} was not ready within {duration(timeout)}; seen last: {seen}")
    return TIMED_OUT


@click.group(cls=Subcommands)
def ctl() -> None:
    """Query or control a running proxy through its admin port.

    \b
    Examples:
      replayproxy ctl status
      replayproxy ctl misses m-0001
      replayproxy ctl reset --scope tests/test_chat.py
      replayproxy ctl rotate --admin http://127.0.0.1:9081
    """


admin_option = option("--admin", metavar="URL", default="http://127.0.0.1:8081", help="The proxy's admin port.")


@ctl.command
@admin_option
@output_family
def status(admin: str, output: Output) -> int:
    """Say whether the proxy is ready, and if not, why. Exit code 1: it is not, or recording is degraded.

    \b
    Example:
      replayproxy ctl status
    """
    document = answer_of(admin, "/ready", also=(503,))
    reasons = "; ".join(document["reasons"])
    _facts({"status": document["status"]} | ({"because": reasons} if reasons else {}), document, output)
    return 0 if document["status"] == "ready" else 1


@ctl.command
@click.argument("miss", required=False)
@admin_option
@output_family
def misses(miss: str | None, admin: str, output: Output) -> None:
    """List the requests that had no recording, or explain MISS, one of them by its number.

    \b
    Examples:
      replayproxy ctl misses
      replayproxy ctl misses m-0001
    """
    if miss is not None:
        _one_miss(answer_of(admin, f"/misses/{quote(miss, safe='')}"), output)
    else:
        _misses(answer_of(admin, "/misses")["misses"], output)


@ctl.command
@admin_option
@output_family
def report(admin: str, output: Output) -> None:
    """Show the result of the run so far; --json is what --report FILE writes.

    \b
    Example:
      replayproxy ctl report --json
    """
    document = answer_of(admin, "/report")
    _facts(_report_facts(_result(document, admin)), document, output)


@ctl.command
@plain_option("--scope", metavar="NAME", help="Only this scope; '' is the scope without a name.")
@plain_option("--counts", is_flag=True, help="Also clear the counters and the misses.")
@admin_option
@output_family
def reset(admin: str, *, scope: str | None, counts: bool, output: Output) -> None:
    """Give equal requests their first recording again. Recordings are not changed.

    \b
    Examples:
      replayproxy ctl reset
      replayproxy ctl reset --scope tests/test_chat.py --counts
    """
    query = ({"scope": scope} if scope is not None else {}) | ({"report": "1"} if counts else {})
    done = answer_of(admin, "/reset" + (f"?{urlencode(query)}" if query else ""), "POST")
    which = "every scope" if scope is None else f"scope {scope!r}"
    _facts({"reset": which} | ({"counts": "forgotten"} if counts else {}), done, output)


@ctl.command
@admin_option
@output_family
def rotate(admin: str, output: Output) -> None:
    """Continue recording on a new cassette beside the first, streams in flight too, and seal the old one.

    \b
    Example:
      replayproxy ctl rotate
    """
    turned = answer_of(admin, "/rotate", "POST")
    _facts({"sealed": turned["sealed"], "recording": turned["recording"]}, turned, output)


@ctl.command
@plain_option("--reason", metavar="TEXT", default="ctl keep", help="Why, for the manifest.", show_default=True)
@admin_option
@output_family
def keep(admin: str, reason: str, *, output: Output) -> None:
    """Make a cassette of the window of a recorder (record --window), and of what follows.

    \b
    Example:
      replayproxy ctl keep --reason 'users report garbled answers'
    """
    kept = answer_of(admin, f"/keep?{urlencode({'reason': reason})}", "POST", also=(202,))
    _facts({"cassette": kept["cassette"], "complete": f"in {duration(kept['complete_in_s'])}"}, kept, output)


@ctl.command("set")
@click.argument("what", type=click.Choice(("latency", "failures", "metrics")))
@click.argument("values", nargs=-1, required=True, metavar="NAME=VALUE...")
@admin_option
@output_family
def set_(what: str, values: tuple[str, ...], admin: str, output: Output) -> None:
    """Change a simulated server while it runs: WHAT is latency, failures or metrics.

    Names are those of the flags of `simulate`; metrics are those of its POST /set_metrics, and null takes one back.

    \b
    Examples:
      replayproxy ctl set latency time-to-first-token=2s inter-token-latency=50ms
      replayproxy ctl set failures failure-injection-rate=10 failure-types=rate_limit
      replayproxy ctl set failures fail=cut@12,rate=5%
      replayproxy ctl set metrics running=7 kv_cache_usage_perc=0.9
    """
    import orjson

    given: dict[str, Any] = {}
    for value in values:
        name, mark, text = value.partition("=")
        if not mark:
            raise click.UsageError(f"{value!r} is not a change: write NAME=VALUE")
        given[name.removeprefix("--")] = _set_value(what, name, text, given.get(name))
    document = answer_of(admin, "/simulation", "POST", also=(), body=orjson.dumps({what: given}))
    now = document.get(what)
    shown = now if isinstance(now, dict) else {}
    facts = {name: orjson.dumps(value).decode() for name, value in shown.items() if value not in (0, [], None)}
    _facts(facts or {what: "none set"}, document, output)


def _set_value(what: str, name: str, text: str, before: Any) -> Any:
    """What a text of the command line means: a list where several can be given, and a number or null of metrics."""
    import orjson

    if what == "failures" and name in ("fail", "failure-types"):
        return [*(before or []), *(text.split(",") if name == "failure-types" else [text])]
    if what == "metrics" and name != "model_name":
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return text
    return text


# Requests

WHOSE = {"/rotate": "records", "/keep": "records with --window", "/ready": "runs", "/simulation": "simulates"}
"""What a proxy does that has a path; any other path is one of a replay."""


def answer_of(
    admin: str, target: str, method: str = "GET", *, also: tuple[int, ...] = (), body: bytes = b""
) -> dict[str, Any]:
    """What the admin port says. Raises `ReplayProxyError` with a sentence."""
    import orjson

    from replayproxy.lifetime import on_loop
    from replayproxy.model import Request

    response = on_loop(_response(admin, Request(method, target, (("Accept", "application/json"),), body)))
    try:
        document = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        document = None
    path = target.partition("?")[0]
    if response.status == 404 and path.startswith("/misses/"):
        # The admin port quotes nothing of what it was sent; whoever asked knows the number.
        raise ReplayProxyError(f"there is no miss {unquote(path.removeprefix('/misses/'))}: list them with ctl misses")
    if not isinstance(document, dict) or response.status == 404:
        whose = WHOSE.get(path, "replays")
        raise ReplayProxyError(
            f"{admin} has no {path} (status {response.status}): give with --admin the admin port of a proxy that"
            f" {whose}"
        )
    if response.status != 200 and response.status not in also:
        raise ReplayProxyError(f"{admin} refuses: {document.get('error', response.status)}")
    return document


async def _response(admin: str, request: Request) -> Response:
    from replayproxy.model import Ending
    from replayproxy.net.clock import SystemClock
    from replayproxy.net.waiting import ask

    clock = SystemClock()
    try:
        response = await ask(admin, request, clock)
    except SettingsError as error:
        raise SettingsError(f"--admin: {error}") from error
    except UpstreamError as error:
        seen = str(error).partition(": ")[0]
        raise ReplayProxyError(
            f"{seen}: is the proxy running, and not with --admin-port off? Give its admin port with --admin URL"
        ) from error
    finally:
        clock.close()
    if response.ending is not Ending.COMPLETE:
        raise ReplayProxyError(f"{admin} broke off in the middle of its answer: ask again")
    return response


# Output

_COLUMNS = [
    Column("MISS", lambda row: row["id"], left=True),
    Column("TIMES", lambda row: str(row["times"])),
    Column("WHY", lambda row: row["code"], left=True),
    Column("REQUEST", lambda row: f"{row['method']} {row['path']}", left=True, flexible=20),
    Column("SCOPE", lambda row: row["scope"], left=True, flexible=10, spare=1),
]

_FIELDS = ("id", "times", "code", "method", "path", "scope", "key", "recorded", "asked", "sentence")


def _misses(misses: list[dict[str, Any]], output: Output) -> None:
    if not output.is_for_people:
        names = [*_FIELDS, *(name for name in (misses[0] if misses else {}) if name not in _FIELDS)]
        output.rows(names, misses)
        return
    with output.screen() as screen:
        if not misses:
            screen.line("no misses")
            return
        shown = layout(_COLUMNS, misses, screen.width if output.trunc else None)
        screen.lines([*([shown.heading()] if output.headers else []), *map(shown.row, misses)])


def _one_miss(miss: dict[str, Any], output: Output) -> None:
    if not output.is_for_people:
        output.value(miss)
        return
    with output.screen() as screen:
        screen.line(Span(f"MISS {miss['id']}", "bold red"), f"  x{miss['times']}   {miss['code']}")
        for line in str(miss["explanation"]).splitlines():
            screen.under(line)
        _entries({name: miss[name] for name in ("key", "scope") if miss[name]}, screen)


def _result(document: Mapping[str, Any], admin: str) -> RunResult:
    """Read the answer to /report. Raises `ReplayProxyError` if it is not one."""
    from replayproxy.proxy.result import RunResult

    try:
        return RunResult.from_document(document)
    except ValueError as error:
        raise ReplayProxyError(f"{admin} did not send a report ({error}): is it the admin port of a proxy?") from error


def _report_facts(result: RunResult) -> dict[str, str]:
    """Return the result of a run in few words."""
    counts = (
        ("forwarded", result.forwarded),
        ("recorded", result.recorded),
        ("dropped", result.dropped),
        ("simulated", result.simulated),
    )
    misses = sum(cause.times for cause in result.causes)
    return {
        "mode": result.mode,
        "served": f"{plural(result.served, 'answer')} from recordings",
        **{name: str(count) for name, count in counts if count},
        "misses": f"{misses}" + (f", of {plural(len(result.causes), 'cause')}" if misses else ""),
        "unused": f"{len(result.unused)} of {plural(result.recordings, 'recording')}",
        "lateness": f"at most {duration(result.lateness_max)}",
    }


def _facts(facts: Mapping[str, str], document: Mapping[str, Any], output: Output) -> None:
    if not output.is_for_people:
        output.value(document)
        return
    with output.screen() as screen:
        _entries(facts, screen)


def _entries(facts: Mapping[str, str], screen: Screen) -> None:
    for head, text in facts.items():
        screen.entry(head, text)

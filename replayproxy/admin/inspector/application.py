"""Mounts the inspector on a Quart application: routes, their `.json` twins, access, headers, errors as pages.

mount(app, Inspector(library, run, access), prefix="/inspector")
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson
from quart import Blueprint, Quart, Response, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException

from replayproxy import __version__
from replayproxy.admin.inspector.access import HEADERS, Access, Visit
from replayproxy.admin.inspector.library import CassetteLibrary
from replayproxy.admin.inspector.page import InspectedRun, Page, PageFunction, Visitor
from replayproxy.admin.inspector.pages import compare, exchange, exchanges, guide, overview, run, stats
from replayproxy.admin.inspector.query import Query
from replayproxy.core.visible import visible_lines
from replayproxy.errors import CassetteError, ReplayProxyError, SettingsError, where_raised
from replayproxy.views import units
from replayproxy.views.charts import charts_css

log = logging.getLogger("replayproxy.admin")

NAME = "inspector"


class Route(NamedTuple):
    """Where a page is, and where its twin."""

    name: str
    path: str
    twin: str
    function: PageFunction


PAGES = (
    Route("overview", "/", "/overview.json", overview.page),
    Route("list", "/list", "/list.json", exchanges.page),
    Route("exchange", "/exchange/<cassette>/<id>", "/exchange/<cassette>/<id>.json", exchange.page),
    Route("stats", "/stats", "/stats.json", stats.page),
    Route("compare", "/compare", "/compare.json", compare.page),
    Route("misses", "/misses", "/misses.json", run.misses),
    Route("unused", "/unused", "/unused.json", run.unused),
    Route("help", "/help", "/help.json", guide.page),
)
"""A new page is one row here."""

TABS = {
    "overview": "Overview",
    "list": "Exchanges",
    "stats": "Statistics",
    "compare": "Compare",
    "misses": "Misses",
    "unused": "Unused",
    "help": "Help",
}

MOST_ARGUMENT = 4_000
"""Characters of one argument of a URL."""

FILTERS: Mapping[str, Callable[..., str]] = {
    "duration": lambda seconds: units.NOTHING if seconds is None else units.duration(seconds),
    "amount": lambda number: units.NOTHING if number is None else units.count(number),
    "size": lambda number: units.NOTHING if number is None else units.size(number),
    "plural": units.plural,
    "clock": lambda text: str(text)[11:23],
    "day": lambda text: str(text)[:10],
}
"""Numbers as people read them, for templates."""


@dataclass(frozen=True, slots=True)
class Inspector:
    """What is shown, and to whom."""

    library: CassetteLibrary
    access: Access
    run: InspectedRun | None = None


def mount(app: Quart, inspector: Inspector, prefix: str = "") -> None:
    """Add the inspector to an application, below a path."""
    _prepare_templates(app)
    pages = Blueprint(
        NAME, __name__, url_prefix=prefix or None, template_folder="templates", static_folder="static",
        static_url_path="/static",
    )  # fmt: skip

    @pages.before_request
    async def admit() -> Response | None:
        return await _admit(inspector.access)

    @pages.after_request
    async def protect(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    for route in PAGES:
        _add_page(pages, inspector, route)

    @pages.get("/exchange/<cassette>/<id>/<any(request, answer):part>.bin")
    async def part(**place: str) -> Response:
        name, content = await exchange.part(_visitor(inspector, place))
        # Bytes of a stranger: never shown by the browser as what they say they are.
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(content, content_type="application/octet-stream", headers=headers)

    @pages.get("/charts.css")
    async def charts() -> Response:
        return Response(charts_css(), content_type="text/css; charset=utf-8")

    @pages.errorhandler(ReplayProxyError)
    async def explain(error: ReplayProxyError) -> Response:
        return await _failure(status_of(error), str(error))

    @pages.errorhandler(HTTPException)
    async def refuse(error: HTTPException) -> Response:
        return await _failure(error.code or 500, f"{error.code} {error.name}")

    @pages.errorhandler(Exception)  # Quart's own handler logs the path and the message
    async def fail(error: Exception) -> Response:
        log.error("the inspector failed inside: please report this\n%s", where_raised(error))
        return await _failure(500, "the inspector failed inside: its log says where; please report it")

    @app.errorhandler(404)
    async def missing(_: HTTPException) -> Response:  # no route of the blueprint: its handlers do not come in
        if not request.path.startswith(f"{prefix}/"):
            return Response(b'{"error":"404 Not Found"}', 404, content_type="application/json")
        refused = await _admit(inspector.access)
        return refused or await _failure(404, "there is no such page: the links above lead to those that there are")

    app.register_blueprint(pages)
    app.after_serving(_closing(inspector.library))


def _closing(library: CassetteLibrary) -> Callable[[], Any]:
    async def close() -> None:
        library.close()

    return close


def _prepare_templates(app: Quart) -> None:
    """Let every text of a template pass through `visible_lines`: also those that no template author thought of."""
    app.jinja_options = {**app.jinja_options, "finalize": _finalized, "trim_blocks": True, "lstrip_blocks": True}
    app.jinja_env.filters.update(FILTERS)


def _finalized(value: Any) -> Any:
    return visible_lines(value) if type(value) is str else "" if value is None else value


def status_of(error: ReplayProxyError) -> int:
    """The status of a page that could not be made."""
    match error:
        case SettingsError():
            return 400
        case CassetteError():
            return 500
    return error.status


# Requests


async def _admit(access: Access) -> Response | None:
    """Refuse, or take the token out of the URL into a cookie."""
    bearer = request.headers.get("Authorization", "")
    visit = Visit(
        method=request.method,
        host=request.host or "",
        origin=request.headers.get("Origin"),
        site=request.headers.get("Sec-Fetch-Site"),
        mode=request.headers.get("Sec-Fetch-Mode"),
        token=request.args.get("token") or (bearer[7:] if bearer[:7].lower() == "bearer " else None),
        cookie=request.cookies.get(access.cookie),
    )
    refusal = access.refusal(visit)
    if refusal is not None:
        return await _failure(refusal.status, refusal.sentence, is_refused=True)
    if access.token is not None and "token" in request.args:
        rest = urlencode([(name, value) for name, value in request.args.items(multi=True) if name != "token"])
        answer: Response = redirect(f"{request.path}?{rest}" if rest else request.path, 303)  # type: ignore[assignment]  # quart's own
        answer.set_cookie(access.cookie, access.token, httponly=True, samesite="Strict", path="/")
        return answer
    return None


def _visitor(inspector: Inspector, place: Mapping[str, str]) -> Visitor:
    arguments: dict[str, str] = {}
    for name, value in request.args.items():
        if len(value) > MOST_ARGUMENT:
            raise SettingsError(f"{name} is longer than {MOST_ARGUMENT} characters")
        if value:
            arguments[name] = value
    both = request.args.getlist("x")  # the boxes of a list
    if len(both) == 2 and max(map(len, both)) <= MOST_ARGUMENT:
        arguments |= {"a": both[0], "b": both[1]}
    return Visitor(inspector.library, inspector.run, Query(arguments), _link, place)


def _link(name: str, **values: Any) -> str:
    return url_for(f"{NAME}.{name}", **values)


def _add_page(pages: Blueprint, inspector: Inspector, route: Route) -> None:
    """One page and its twin."""
    name, function = route.name, route.function

    async def html(**place: str) -> Response:
        visitor = _visitor(inspector, place)
        return await _html(await function(visitor), visitor, name)

    async def json(**place: str) -> Response:
        page = await function(_visitor(inspector, place))
        return Response(_as_json(page.data), content_type="application/json")

    # The twin first: `<id>` would take `7f3a.json` for an id.
    pages.add_url_rule(route.twin, f"{name}_json", json, methods=["GET"])
    pages.add_url_rule(route.path, name, html, methods=["GET"])


async def _html(page: Page, visitor: Visitor, name: str) -> Response:
    twin = _link(f"{name}_json", **visitor.place)
    arguments = visitor.query.link()
    text = await render_template(
        f"inspector/{page.template}",
        data=page.data,
        view=page.view,
        query=visitor.query,
        link=_link,
        tab=name,
        tabs=TABS,
        keys=guide.KEYS,
        twin=f"{twin}?{arguments}" if arguments else twin,
        version=__version__,
    )
    content = text.encode("utf-8", "replace")
    tag = f'"{blake2b(content, digest_size=12).hexdigest()}"'
    if request.headers.get("If-None-Match") == tag:
        return Response("", 304, headers={"ETag": tag})
    return Response(content, content_type="text/html; charset=utf-8", headers={"ETag": tag})


async def _failure(status: int, sentence: str, *, is_refused: bool = False) -> Response:
    """An error as a page, or as JSON where JSON was asked for. Who is refused sees one sentence."""
    if request.path.endswith(".json"):
        response = Response(_as_json({"error": sentence}), status, content_type="application/json")
    elif is_refused:
        response = Response(f"{sentence}\n", status, content_type="text/plain; charset=utf-8")
    else:
        text = await render_template(
            "inspector/error.html",
            sentence=sentence,
            status=status,
            link=_link,
            tab="",
            tabs=TABS,
            keys=guide.KEYS,
            version=__version__,
        )
        response = Response(text.encode("utf-8", "replace"), status, content_type="text/html; charset=utf-8")
    for name, value in HEADERS.items():  # also where the blueprint's own handlers do not come in
        response.headers[name] = value
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _as_json(data: Mapping[str, Any]) -> bytes:
    return orjson.dumps(data, default=str, option=orjson.OPT_NON_STR_KEYS)

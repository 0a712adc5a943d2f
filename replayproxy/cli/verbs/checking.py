"""`verify`: check that a cassette holds what was written."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from replayproxy.cli.options import plain_option
from replayproxy.cli.setting_options import setting_options
from replayproxy.cli.terminal.progress import progress
from replayproxy.cli.terminal.screen import on_stdout
from replayproxy.errors import CassetteError
from replayproxy.views.units import plural

if TYPE_CHECKING:
    from replayproxy.cassette.checking.verify import Problem
    from replayproxy.core.identity.rules import MatchRules


@click.command
@click.argument("cassette", type=click.Path(path_type=Path), nargs=-1, required=True)
@plain_option("--secrets", is_flag=True, help="Also search everything on the cassette for secrets.")
@setting_options("verify", "redact")
@plain_option("--self-match", is_flag=True, help="Also check that every recorded request finds its own recording.")
@setting_options("verify", "match")
@plain_option("--pair", is_flag=True, help="Judge the hand-overs of a prefill/decode pair instead.")
@plain_option("--json", "as_json", is_flag=True, help="With --pair: what it found, as one JSON object per cassette.")
@plain_option("--junit", type=click.Path(path_type=Path), help="With --pair: also write JUnit XML to this file.")
def verify(cassette: tuple[Path, ...], secrets: bool, redact: tuple[str, ...], **options: Any) -> int:
    """Read everything on CASSETTE and check it: pages, digests, keys, columns. Nothing is changed.

    --self-match also lists different requests that answer for one another, by the rules of the cassette or those of the
    options. --pair looks whether each ticket of a prefill was used once and by its own decode, whether a prompt was
    computed twice, and whether a success hides a failed leg. Exit code 6: something is damaged, a recording is not
    found by its own request, or, with --secrets, a secret was found; 5: --pair found something; 9: there was no pair.

    \b
    Examples:
      replayproxy verify chat.cassette
      replayproxy verify chat.cassette --self-match --match-normalise date
      replayproxy verify pair.cassette --pair --junit pair.xml
    """
    # Imported here and below, because --help and completion read no cassette.
    from replayproxy.api.options import match_rules, redaction_rules
    from replayproxy.cassette.checking.verify import verify as find_problems

    _refuse_ignored(secrets=secrets, self_matching=options["self_match"])
    if options["pair"]:
        _refuse_mixed(secrets=secrets, self_matching=options["self_match"])
        return _pairs(cassette, as_json=options["as_json"], junit=options["junit"])
    for flag, given in (("--json", options["as_json"]), ("--junit", options["junit"])):
        if given:
            raise click.UsageError(f"{flag} has an effect in verify only with --pair: add --pair, or leave it out")
    worst = 0
    for path in cassette:
        try:
            missing_ends: Counter[str] = Counter()
            with progress() as watch:
                exchanges, problems = find_problems(path, missing_ends, watch)
        except CassetteError as error:
            text = str(error)
            on_stdout().line(text if text.startswith(str(path)) else f"{path}: {text}")
            worst = max(worst, error.exit_code)
            continue
        problems += _leaks(path, redaction_rules(redact)) if secrets and not problems else []
        for problem in problems:
            on_stdout().line(f"{path}: {problem.where + ': ' if problem.where else ''}{problem.what}")
        if problems:
            worst = 6
        else:
            on_stdout().line(
                f"{path}: {plural(exchanges, 'exchange')}, all as they were written{_cut(path)}"
                f"{_without_end(missing_ends)}{', no secret found' if secrets else ''}"
            )
            if options["self_match"] and not _finds_itself(path, match_rules(options)):
                worst = 6
    return worst


def _refuse_ignored(*, secrets: bool, self_matching: bool) -> None:
    """What is typed and would do nothing is a mistake; a variable or a config file may be there for other verbs."""
    context = click.get_current_context()
    rules = ("match", "match_ignore", "match_normalise", "match_header", "match_from")
    needed = {**dict.fromkeys(rules, ("--self-match", self_matching)), "redact": ("--secrets", secrets)}
    for name, (flag, given) in needed.items():
        if not given and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            ignored = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{ignored} has an effect in verify only with {flag}: add {flag}, or leave it out")


def _refuse_mixed(*, secrets: bool, self_matching: bool) -> None:
    for flag, given in (("--secrets", secrets), ("--self-match", self_matching)):
        if given:
            raise click.UsageError(f"--pair judges a pair and {flag} a cassette: run verify once for each")


def _pairs(cassettes: tuple[Path, ...], *, as_json: bool, junit: Path | None) -> int:
    """Judge the hand-overs on each cassette; the worst exit code counts, damage before findings before nothing."""
    from replayproxy import output_files
    from replayproxy.cassette.browse import CassetteBrowser
    from replayproxy.cli.judging.pair_reports import pair_junit, pair_page
    from replayproxy.cli.terminal.output import Form, Output
    from replayproxy.views.pair_check import check_pairs, pair_fields

    if junit is not None:
        output_files.refuse(junit, "--junit", cassettes)
    checks = []
    for path in cassettes:
        with CassetteBrowser.open(path) as browser:
            checks.append(check_pairs(browser))
        if as_json:
            Output(Form.JSON if len(cassettes) == 1 else Form.NL).value(pair_fields(checks[-1]))
        else:
            pair_page(checks[-1], on_stdout())
    if junit is not None:
        output_files.write(junit, pair_junit(checks), "--junit", cassettes)
    codes = {check.exit_code for check in checks}
    return next((code for code in (6, 5, 9) if code in codes), 0)


def _cut(path: Path) -> str:
    """How many of them have a request that was not read to its end, which is no damage."""
    from replayproxy.cassette.browse import CassetteBrowser

    with CassetteBrowser.open(path) as browser:
        cut = browser.count_cut_requests()
    return f", {cut} of them with a request that was cut and answers nothing in replay" if cut else ""


def _without_end(missing_ends: Counter[str]) -> str:
    """How many streams lack the event that ends them although HTTP says that they are whole, which is no damage."""
    if not missing_ends:
        return ""
    named = ", ".join(f"{label} {times}" for label, times in missing_ends.most_common())
    return (
        f", {missing_ends.total()} of them streams that ended well as HTTP without the event that ends such a stream"
        f" ({named}): replay plays them as they came"
    )


def _finds_itself(path: Path, rules: MatchRules | None) -> bool:
    """Say what does not, and what collides."""
    from replayproxy.cassette.checking.self_match import self_match

    found = self_match(path, rules)
    for short_id in found.lost:
        on_stdout().line(f"{path}: {short_id}: its request does not find it; please report this")
    for collision in found.collisions:
        where = " ".join(collision.places)
        on_stdout().line(f"{path}: {' '.join(collision.ids)}: different at {where}, but equal under the rules")
    count = len(found.collisions)
    groups = f", {plural(count, 'group')} of different requests with one key" if count else ""
    if not found.lost:
        on_stdout().line(f"{path}: {plural(found.recordings, 'recording')}, each of which finds itself{groups}")
    return not found.lost


def _leaks(path: Path, rules: tuple[str, ...]) -> list[Problem]:
    """Where secrets are, and of which kind; never what they are."""
    from replayproxy.cassette.checking.secrets import scan
    from replayproxy.cassette.checking.verify import Problem

    with progress() as watch:
        leaks = list(scan(path, rules, watch))
    advice = f"take it out with `replayproxy redact {path}`"
    return [Problem(leak.where, f"{leak.field} holds a secret ({leak.kind}): {advice}") for leak in leaks]

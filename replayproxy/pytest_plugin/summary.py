"""What a run of pytest prints about its recordings, and why it failed although all tests passed.

Text out of a `SuiteResult`; knows no pytest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from replayproxy.pytest_plugin.suite_result import SuiteResult


def lines(suite: SuiteResult, notes: Sequence[str], *, loud: bool, verbose: bool) -> Iterator[str]:
    """One line; `loud` names what is not used, `verbose` each cassette."""
    yield suite.sentence
    yield from notes
    for carried in suite.result.carried:
        yield f"carried: {carried.sentence}"
    for miss in suite.late:
        yield f"missed after its test was over, in {miss['cassette']}: {miss['sentence']}"
    for name in suite.orphans if loud else ():
        yield f"{name} is of no test any more: delete it, or name it with the marker of a test"
    for line in suite.lines:
        if verbose:
            counts = line.document()
            judged = f"not judged: {line.not_judged}" if line.unused is None else f"{len(line.unused)}"
            yield (
                f"{line.cassette}: {counts['served']} served, {counts['missed']} missed in {line.tests} tests;"
                f" unused {judged}"
            )
        for recording in line.unused or () if loud and verbose else ():
            yield f"  unused  {recording['id']}  {recording['method']} {recording['path']}"
        if line.unused and loud and not verbose:
            yield f"{line.cassette} has {len(line.unused)} that no test asked for (-v names them)"


def reasons_to_fail(suite: SuiteResult, unused: str, *, failed: bool) -> list[str]:
    """Why a run fails whose tests have all passed. `unused` is the option's value; `failed`: a file was not written."""
    reasons = []
    if unused == "fail":
        flag = "and --replayproxy-unused is fail"
        if number := len(suite.unused):
            what = "recording was" if number == 1 else "recordings were"
            reasons.append(f"{number} {what} not used by any test, {flag}: delete what is named above with prune")
        if number := len(suite.orphans):
            what = "cassette belongs" if number == 1 else "cassettes belong"
            reasons.append(f"{number} {what} to no test any more, {flag}: delete the files named above")
    if number := len(suite.late):
        reasons.append(f"{number} request{'' if number == 1 else 's'} missed after the test was over")
    return reasons + (["something could not be written, see above"] if failed else [])

"""What a run of pytest says of its recordings on the terminal, and why it failed where all tests have passed.

Text out of an `Account`; knows no pytest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from replayproxy.pytest_plugin.results import SuiteResult


def lines(account: SuiteResult, notes: Sequence[str], *, loud: bool, verbose: bool) -> Iterator[str]:
    """One line; `loud` names what is not used, `verbose` each cassette."""
    yield account.sentence
    yield from notes
    for miss in account.late:
        yield f"missed after its test was over, in {miss['cassette']}: {miss['sentence']}"
    for name in account.orphans if loud else ():
        yield f"{name} is of no test any more: delete it, or name it with the marker of a test"
    for line in account.lines:
        if verbose:
            counted = line.document()
            judged = f"not judged: {line.unjudged}" if line.unused is None else f"{len(line.unused)}"
            yield (
                f"{line.cassette}: {counted['served']} served, {counted['missed']} missed in {line.tests} tests;"
                f" unused {judged}"
            )
        for one in line.unused or () if loud and verbose else ():
            yield f"  unused  {one['id']}  {one['method']} {one['path']}"
        if line.unused and loud and not verbose:
            yield f"{line.cassette} has {len(line.unused)} that no test asked for (-v names them)"


def reasons_to_fail(account: SuiteResult, unused: str, *, failed: bool) -> list[str]:
    """Why a run is no good whose tests have all passed. `unused` is the option's value."""
    reasons = []
    if unused == "fail":
        flag = "and --replayproxy-unused is fail"
        if number := len(account.unused):
            what = "recording was" if number == 1 else "recordings were"
            reasons.append(f"{number} {what} not used by any test, {flag}: delete what is named above with prune")
        if number := len(account.orphans):
            what = "cassette belongs" if number == 1 else "cassettes belong"
            reasons.append(f"{number} {what} to no test any more, {flag}: delete the files named above")
    if number := len(account.late):
        reasons.append(f"{number} request{'' if number == 1 else 's'} missed after the test was over")
    return reasons + (["something could not be written, see above"] if failed else [])

"""The table of formats. A new format is one file and one row."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from replayproxy.errors import SettingsError
from replayproxy.formats.agentic_api import AGENTIC_API
from replayproxy.formats.aimock import AIMOCK
from replayproxy.formats.aiperf import AIPERF
from replayproxy.formats.baseten import BASETEN
from replayproxy.formats.comma_separated import CSV
from replayproxy.formats.curl import CURL
from replayproxy.formats.dynamo import DYNAMO
from replayproxy.formats.format import Format
from replayproxy.formats.guidellm import GUIDELLM
from replayproxy.formats.har import HAR
from replayproxy.formats.html import HTML
from replayproxy.formats.jsonl import JSONL
from replayproxy.formats.langfuse import LANGFUSE
from replayproxy.formats.litellm import LITELLM
from replayproxy.formats.mitmproxy import MITMPROXY
from replayproxy.formats.mooncake import MOONCAKE
from replayproxy.formats.openai_batch import OPENAI_BATCH
from replayproxy.formats.otel import OTEL
from replayproxy.formats.parquet import PARQUET
from replayproxy.formats.reel import REEL_VCR
from replayproxy.formats.source import SourceFile, UnreadableSource
from replayproxy.formats.timefork import TIMEFORK
from replayproxy.formats.token_ids import TOKEN_IDS
from replayproxy.formats.vcr import VCR
from replayproxy.formats.vllm_bench import VLLM_BENCH
from replayproxy.formats.vllm_vcr import VLLM_VCR

FORMATS: tuple[Format, ...] = (
    *(JSONL, PARQUET, CSV, HAR, CURL, HTML, OPENAI_BATCH, OTEL),
    *(MOONCAKE, AIPERF, GUIDELLM, VLLM_BENCH, BASETEN, TOKEN_IDS, VLLM_VCR),
    *(VCR, MITMPROXY, AIMOCK, REEL_VCR, TIMEFORK, AGENTIC_API, DYNAMO, LITELLM, LANGFUSE),
)
"""In the order in which the documentation lists them; a file is of the first one that recognises it."""


def names_written() -> list[str]:
    """The names of the formats that `export` writes."""
    return [each.name for each in FORMATS if each.write is not None]


def names_read() -> list[str]:
    """The names of the formats that `import` reads."""
    return [each.name for each in FORMATS if each.read is not None]


def format_named(name: str) -> Format:
    """The format of this name. Raises `SettingsError`."""
    for each in FORMATS:
        if each.name == name:
            return each
    raise SettingsError(f"there is no format {name!r}: choose one of {', '.join(each.name for each in FORMATS)}")


def format_of(source: SourceFile) -> Format:
    """The format of a file, by its beginning. Raises `UnreadableSource` where no format recognises it."""
    if source.path.is_dir():
        found = folder_format(source.path)
    else:
        found = next((each for each in FORMATS if each.recognises is not None and each.recognises(source)), None)
    if found is not None:
        return found
    raise UnreadableSource(
        f"{source.path} is in none of the formats that can be imported: {_in_words(names_read())}. If it is, name its"
        " format with --from."
    )


def folder_format(path: Path) -> Format | None:
    """The format that this folder is in as a whole; None where its files are to be read one by one."""
    return next((each for each in FORMATS if each.takes_folder is not None and each.takes_folder(path)), None)


def _in_words(names: Iterable[str]) -> str:
    return ", ".join(names)

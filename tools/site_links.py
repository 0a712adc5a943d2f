"""A hook of MkDocs: links from a page to files outside docs/ lead to the repository.

On disk, and where the repository is browsed, `../examples/ci` is right; a site has no such file.
"""

from __future__ import annotations

import re
from typing import Any


def on_page_markdown(markdown: str, config: Any, **_more: Any) -> str:
    """The page with links that work on the site."""
    return re.sub(r"\]\(\.\./([^)\s]+)\)", rf"]({config['repo_url'].rstrip('/')}/tree/main/\1)", markdown)

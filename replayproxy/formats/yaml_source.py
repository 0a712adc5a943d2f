"""Read YAML of strangers: values only, no objects, and within bounds.

The tags that VCR.py writes for texts, tuples and byte streams become plain values; any other tag is refused
(GHSA-rpj2-4hq8-938g is what happens otherwise). Anchors are allowed, because PyYAML writes them for equal lists, but
what they expand to is counted: nine lines can stand for a billion values.
"""

from __future__ import annotations

from typing import Any

import yaml

from replayproxy.formats.source import MOST_NESTED, SourceFile

MOST_VALUES = 5_000_000
"""Values of a file with its anchors expanded."""

MOST_YAML = 64 * 1024 * 1024
"""Bytes of a YAML file: its parser takes a hundred times as much memory."""


class PlainLoader(yaml.SafeLoader):
    """A safe loader that also knows the tags of VCR.py, and no times and merge keys."""


PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":merge"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _text(loader: PlainLoader, node: yaml.Node) -> str:
    assert isinstance(node, yaml.ScalarNode)
    return str(loader.construct_scalar(node))


def _list(loader: PlainLoader, node: yaml.Node) -> list[Any]:
    assert isinstance(node, yaml.SequenceNode)
    return list(loader.construct_sequence(node, deep=True))


def _stream(loader: PlainLoader, node: yaml.Node) -> object:
    """`!!python/object/new:_io.BytesIO`: the bytes that it holds."""
    if not isinstance(node, yaml.MappingNode):
        raise yaml.constructor.ConstructorError(None, None, "a byte stream is not a mapping", node.start_mark)
    state = loader.construct_mapping(node, deep=True).get("state")
    return state[0] if isinstance(state, list) and state else b""


for _name in ("str", "unicode"):
    PlainLoader.add_constructor(f"tag:yaml.org,2002:python/{_name}", _text)
PlainLoader.add_constructor("tag:yaml.org,2002:python/tuple", _list)
PlainLoader.add_constructor("tag:yaml.org,2002:python/object/new:_io.BytesIO", _stream)


def load_yaml(source: SourceFile) -> Any:
    """The whole file as one value. Raises `UnreadableSource`."""
    content = source.content()
    if len(content) > MOST_YAML:
        raise source.error(f"it is longer than {MOST_YAML} bytes, which is too much YAML: import it in parts")
    try:
        _check_depth(content)
        value = yaml.load(content, PlainLoader)  # noqa: S506  a subclass of the safe loader
    except yaml.YAMLError as error:
        what = " ".join(str(error).split())[:300]
        raise source.error(f"it is not YAML that can be read safely ({what})") from error
    except (ValueError, RecursionError, TypeError) as error:  # an odd number, a key that is a list
        raise source.error(f"it is not YAML that can be read ({str(error)[:200]})") from error
    if _expanded(value) > MOST_VALUES:
        raise source.error(f"its anchors stand for more than {MOST_VALUES} values")
    return value


def _check_depth(content: bytes) -> None:
    """Raise `yaml.YAMLError` where lists are nested deeper than anything recorded: composing is recursive."""
    depth = 0
    for event in yaml.parse(content, yaml.SafeLoader):
        if isinstance(event, yaml.events.CollectionStartEvent):
            depth += 1
            if depth > MOST_NESTED:
                raise yaml.YAMLError(f"nested deeper than {MOST_NESTED} levels")
        elif isinstance(event, yaml.events.CollectionEndEvent):
            depth -= 1


def _expanded(value: object) -> int:
    """How many values this stands for with its anchors expanded; above `MOST_VALUES` it is not counted further."""
    sizes: dict[int, int] = {}
    busy: set[int] = set()
    stack: list[tuple[object, bool]] = [(value, False)]
    while stack:
        item, is_done = stack.pop()
        if not isinstance(item, dict | list) or (id(item) in sizes and not is_done):
            continue
        children = list(item.values()) if isinstance(item, dict) else item
        if is_done:
            busy.discard(id(item))
            sizes[id(item)] = 1 + sum(sizes.get(id(child), 1) for child in children)
            if sizes[id(item)] > MOST_VALUES:
                return sizes[id(item)]
            continue
        if id(item) in busy:
            return MOST_VALUES + 1  # a list within itself
        busy.add(id(item))
        stack.append((item, True))
        stack += [(child, False) for child in children if isinstance(child, dict | list)]
    return sizes.get(id(value), 1)

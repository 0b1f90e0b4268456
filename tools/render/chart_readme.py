"""The chart's README: its values with their comments, and the settings under `config`."""

import json
import re
from collections.abc import Iterator

import yaml

from headrace.settings.table import settings_table
from render import places

INTRODUCTION = """\
# headrace, the chart

One release is one application: workers that share the shards of one stream. What to set on EKS, step by step, is in
docs/kubernetes.md. This page is made by `make render`.

    helm install readings k8s/headrace --namespace headrace --create-namespace -f values.yaml

with at least

```yaml
config:
  application: readings-writer
  stream: {name: readings}
  sink: {table: readings}
```
"""

KEY = re.compile(r"^(?P<indent> *)(?P<key>[\w./-]+):(?P<rest>.*)$")


def markdown() -> str:
    """The page."""
    lines = [INTRODUCTION, "## Values", "", "| key | default | what |", "| --- | --- | --- |"]
    lines += [f"| `{key}` | {_shown(value)} | {what} |" for key, value, what in values()]
    lines += ["", "## Settings", "", "Under `config`, as in headrace.toml; docs/settings.md tells them all.", ""]
    lines += ["| key | default |", "| --- | --- |"]
    lines += [f"| `config.{'.'.join(row.name.path)}` | `{row.default}` |" for row in settings_table()]
    return "\n".join([*lines, ""])


def values() -> Iterator[tuple[str, object, str]]:
    """Every value that has a comment above it: its path, its default and the comment."""
    whole = yaml.safe_load(places.VALUES.read_text())
    above: list[str] = []
    path: list[str] = []
    for line in places.VALUES.read_text().splitlines():
        if line.lstrip().startswith("#"):
            above.append(line.strip().removeprefix("#").strip())
        elif match := KEY.match(line):
            path = [*path[: len(match["indent"]) // 2], match["key"]]
            if above:
                yield ".".join(path), _at(whole, path), " ".join(above)
            above = []
        else:
            above = []


def _at(whole: object, path: list[str]) -> object:
    for key in path:
        assert isinstance(whole, dict)  # noqa: S101 - the file was read line by line from the same text
        whole = whole[key]
    return whole


def _shown(value: object) -> str:
    return f"`{json.dumps(value)}`"

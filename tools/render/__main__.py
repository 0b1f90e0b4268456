"""Writes every rendered file; `make render`."""

import json
import sys
from pathlib import Path

from render import alerts, boards, chart_readme, chart_schema, manifests, places


def rendered() -> dict[Path, str]:
    """What each file should hold."""
    files = {
        places.ROOT / "docker" / "prometheus" / "alerts.yml": alerts.filled(),
        places.CHART / "values.schema.json": json.dumps(chart_schema.schema(), indent=2) + "\n",
        places.CHART / "README.md": chart_readme.markdown(),
    }
    for name, board in boards.boards().items():
        files[places.BOARDS / f"{name}.json"] = json.dumps(board, indent=2) + "\n"
    return files


def main() -> None:
    """The manifests last: they are rendered from the others."""
    for path, text in rendered().items():
        path.write_text(text)
    if not places.HELM.exists():
        sys.exit("helm is not here, so k8s/manifests stays as it is: run `make deploy-tools`")
    for name, text in manifests.rendered().items():
        (places.MANIFESTS / name).write_text(text)


if __name__ == "__main__":
    main()

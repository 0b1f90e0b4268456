"""The alerts with everything between @ signs filled in, as the chart does it, for docker compose and for promtool."""

import re

import yaml

from render import places

HEAD = "# Made by `make render` from k8s/headrace/files/alerts.yml, with the chart's default thresholds.\n"
SELECTOR = 'job="headrace"'
"""The job of docker/prometheus/prometheus.yml."""


def filled() -> str:
    """The rules as Prometheus reads them."""
    values = yaml.safe_load(places.VALUES.read_text())["alerts"]
    known = {**values["thresholds"], "selector": SELECTOR, "runbooks": values["runbooks"]}
    text = re.sub(r"\A(#.*\n)+", "", places.ALERTS.read_text())
    return HEAD + re.sub(r"@(\w+)@", lambda match: str(known[match[1]]), text)


def rules() -> list[dict[str, object]]:
    """Every alert."""
    return [rule for group in yaml.safe_load(filled())["groups"] for rule in group["rules"]]

"""The chart rendered for `kubectl apply`: one file with the least, one with all that needs no operator."""

import subprocess

from render import places

HEAD = "# Made by `make render` from the chart in k8s/headrace; see docs/kubernetes.md for what to set.\n"

SETS = {
    "headrace.yaml": [],
    "headrace-monitored.yaml": [
        *("--set", "podMonitor.enabled=true"),
        *("--set", "alerts.enabled=true"),
        *("--set", "dashboards.enabled=true"),
        *("--set", "networkPolicy.enabled=true"),
    ],
}
"""Files by what is switched on beside the least."""

API_VERSIONS = ("monitoring.coreos.com/v1", "keda.sh/v1alpha1")


def rendered() -> dict[str, str]:
    """What each file should hold."""
    return {name: HEAD + template("-f", places.CHART / "ci" / "minimal.yaml", *more) for name, more in SETS.items()}


def template(*options: object) -> str:
    """What `helm template` prints for a release named readings. Raises CalledProcessError."""
    command = [places.HELM, "template", "readings", places.CHART, "--namespace", "headrace", "--skip-tests", *options]
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout  # noqa: TID251 - a tool, not the product

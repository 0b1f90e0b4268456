"""Where things are."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "k8s" / "headrace"
VALUES = CHART / "values.yaml"
ALERTS = CHART / "files" / "alerts.yml"
BOARDS = CHART / "files" / "dashboards"
MANIFESTS = ROOT / "k8s" / "manifests"
HELM = ROOT / "tools" / "deploy" / "bin" / "helm"

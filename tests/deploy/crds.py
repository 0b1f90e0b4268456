# ruff: noqa: N815 - the names are Kubernetes'
"""What the operators accept of the resources that the chart makes for them: their fields, and no other.

PodMonitor and PrometheusRule as in the Prometheus operator's API reference (monitoring.coreos.com/v1), ScaledObject as in
KEDA's (keda.sh/v1alpha1); the parts that the chart uses.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Duration = Annotated[str, Field(pattern=r"^(\d+(ms|s|m|h|d))+$")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Metadata(Strict):
    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
    labels: dict[str, str] = {}


class Selector(Strict):
    matchLabels: dict[str, str]


class Endpoint(Strict):
    port: str
    path: str
    interval: Duration


class PodMonitorSpec(Strict):
    selector: Selector
    podMetricsEndpoints: list[Endpoint]


class PodMonitor(Strict):
    apiVersion: Literal["monitoring.coreos.com/v1"]
    kind: Literal["PodMonitor"]
    metadata: Metadata
    spec: PodMonitorSpec


class Rule(Strict):
    alert: str
    expr: str
    for_: Annotated[Duration | None, Field(alias="for")] = None
    labels: dict[str, str]
    annotations: dict[str, str]


class Group(Strict):
    name: str
    rules: list[Rule]


class Groups(Strict):
    groups: list[Group]


class PrometheusRule(Strict):
    apiVersion: Literal["monitoring.coreos.com/v1"]
    kind: Literal["PrometheusRule"]
    metadata: Metadata
    spec: Groups


class Target(Strict):
    name: str


class Fallback(Strict):
    failureThreshold: int
    replicas: int


class ScalingPolicy(Strict):
    type: Literal["Pods", "Percent"]
    value: int
    periodSeconds: Annotated[int, Field(gt=0, le=1800)]


class ScaleDown(Strict):
    stabilizationWindowSeconds: Annotated[int, Field(ge=0, le=3600)]
    policies: list[ScalingPolicy]


class Behavior(Strict):
    scaleDown: ScaleDown


class Autoscaler(Strict):
    behavior: Behavior


class Advanced(Strict):
    horizontalPodAutoscalerConfig: Autoscaler


class PrometheusTrigger(Strict):
    serverAddress: Annotated[str, Field(pattern="^https?://")]
    query: str
    threshold: str


class Trigger(Strict):
    type: Literal["prometheus"]
    metricType: Literal["AverageValue", "Value", "Utilization"]
    metadata: PrometheusTrigger


class ScaledObjectSpec(Strict):
    scaleTargetRef: Target
    minReplicaCount: int
    maxReplicaCount: int
    fallback: Fallback
    advanced: Advanced
    triggers: list[Trigger]


class ScaledObject(Strict):
    apiVersion: Literal["keda.sh/v1alpha1"]
    kind: Literal["ScaledObject"]
    metadata: Metadata
    spec: ScaledObjectSpec


BY_KIND = {"PodMonitor": PodMonitor, "PrometheusRule": PrometheusRule, "ScaledObject": ScaledObject}

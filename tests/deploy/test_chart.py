"""The chart: three sets of values, three versions of Kubernetes, and what it refuses."""

import re
from functools import cache

import pytest
import yaml
from render import chart_readme, chart_schema

from deploy import crds
from deploy.expressions import troubles
from deploy.tools import ROOT, accepted, run
from headrace.cli.operate_app import operators
from headrace.settings import load
from headrace.settings.names import known_names
from headrace.settings.table import settings_table

CHART = ROOT / "k8s" / "headrace"
SETS = {path.stem: path for path in sorted((CHART / "ci").glob("*.yaml"))}
VERSIONS = ("1.33", "1.35", "1.37")


@cache
def text_of(name, *options):
    return accepted("helm", "template", "readings", CHART, "--namespace", "streams", "-f", SETS[name], *options)


def objects(name, *options):
    return [one for one in yaml.safe_load_all(text_of(name, *options)) if one]


def only(name, kind, *options):
    (found,) = [one for one in objects(name, *options) if one["kind"] == kind]
    return found


def pod(name, *options):
    return only(name, "Deployment", *options)["spec"]["template"]["spec"]


# --- what is accepted --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETS)
def test_helm_lint_has_nothing_to_say(name):
    """Strict: a warning is a failure."""
    accepted("helm", "lint", "--strict", CHART, "-f", SETS[name])


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_accepts_what_is_rendered(version, tmp_path):
    """Against the schemas of the API, offline; a field that does not exist is refused."""
    for name in SETS:
        plain = [one for one in objects(name, "--kube-version", version) if one["kind"] not in crds.BY_KIND]
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump_all(plain))
        told = accepted("kubernetes-validate", "-k", version, "--strict", path)
        assert told.count("passed for resource") == len(plain), told


def test_the_schemas_refuse_a_field_that_does_not_exist(tmp_path):
    """Otherwise the test above proves nothing."""
    wrong = only("minimal", "Deployment")
    wrong["spec"]["template"]["spec"]["terminationGraceSeconds"] = 30
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(wrong))
    assert run("kubernetes-validate", "-k", VERSIONS[0], "--strict", tmp_path / "wrong.yaml").returncode == 1


def test_the_operators_accept_what_is_made_for_them():
    """Fields of PodMonitor, PrometheusRule and ScaledObject, and no other."""
    theirs = [one for one in objects("everything") if one["kind"] in crds.BY_KIND]
    assert {one["kind"] for one in theirs} == set(crds.BY_KIND)
    for one in theirs:
        crds.BY_KIND[one["kind"]].model_validate(one)


def test_the_least_makes_no_more_than_needs_no_operator():
    """Everything else is switched on by who has it."""
    kinds = {one["kind"] for one in objects("minimal", "--skip-tests")}
    assert kinds == {"Deployment", "ConfigMap", "ServiceAccount", "PodDisruptionBudget"}


# --- what is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("replicaCount=3", "replicaCount"),
        ("config.batch.sizes=3", "sizes"),
        ("config.batches.size=3", "batches"),
        ("config.batch.size=20000", "10,000"),
        ("config.batch.size=many", "size"),
        ("config.batch.window=5", "window"),
        ("config.sink.mode=upsert", "mode"),
        ("config.admin_token=secret-that-belongs-elsewhere", "admin_token"),
        ("config.shutdown.timeout=PT25S", "timeout"),
        ("alerts.thresholds.lag=60", "lag"),
        ("podMonitor.enabled=perhaps", "enabled"),
    ],
)
def test_a_wrong_key_or_value_is_refused_before_anything_is_made(wrong, told):
    """A key that is silently ignored is a night's work."""
    for command in ("lint", "template"):
        done = run("helm", command, CHART, "-f", SETS["minimal"], "--set", wrong)
        assert done.returncode == 1
        assert told in done.stdout + done.stderr


def test_without_settings_it_says_which_are_missing():
    """`helm install` with no values at all."""
    done = run("helm", "template", CHART)
    assert done.returncode == 1
    assert "application" in done.stderr


def test_the_schema_knows_every_setting_but_the_secret_one():
    """It is made from the same model as the documentation; a secret has no place in a ConfigMap."""
    groups = chart_schema.config()["properties"]
    assert "admin_token" not in groups
    for name in known_names().values():
        if name.path == ("admin_token",):
            continue
        where = groups if len(name.path) == 1 else groups[name.path[0]]["properties"]
        assert where[name.path[-1]]["description"]


def test_every_default_may_be_written_down():
    """What the page of settings shows as a default is a value that the chart takes."""
    defaults = {}
    for row in settings_table():
        if row.default in {"required", "none"} or "<" in row.default or row.name.path == ("lease", "deployment"):
            continue
        where = defaults if len(row.name.path) == 1 else defaults.setdefault(row.name.path[0], {})
        where[row.name.path[-1]] = yaml.safe_load(row.default)
    accepted(
        "helm", "lint", "--strict", CHART, "-f", SETS["minimal"], "-f", "-", given=yaml.safe_dump({"config": defaults})
    )


# --- what is made --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETS)
def test_a_worker_takes_the_settings_as_they_are_rendered(name):
    """Loaded as the worker loads them, with what the container adds."""
    maps = [
        one for one in objects(name) if one["kind"] == "ConfigMap" and one["metadata"]["name"] == "readings-headrace"
    ]
    environment = maps[0]["data"]
    (container,) = pod(name)["containers"]
    added = {
        one["name"]: one.get("value", "rollout") for one in container["env"] if one["name"].startswith("HEADRACE_")
    }
    settings = load([], {**environment, **added})
    given = yaml.safe_load(SETS[name].read_text())["config"]
    assert settings.application == given["application"]
    assert settings.ops.address == "0.0.0.0"
    assert container["ports"][0]["containerPort"] == settings.ops.port
    assert pod(name)["terminationGracePeriodSeconds"] >= settings.shutdown.timeout.total_seconds() + 5
    if name == "everything":
        assert len(settings.filter.patterns) == 2


@pytest.mark.parametrize(("timeout", "grace"), [("25s", 30), ("1m30s", 95), ("500ms", 6), ("2m", 125), ("0s", 5)])
def test_the_grace_period_follows_from_the_shutdown_timeout(timeout, grace):
    """One value in one place: Kubernetes never kills a worker that still may finish."""
    found = pod("minimal", "--set-string", f"config.shutdown.timeout={timeout}")
    assert found["terminationGracePeriodSeconds"] == grace


@pytest.mark.parametrize("name", SETS)
def test_the_pod_keeps_to_the_restricted_profile(name):
    """Pod Security Standards, "restricted"."""
    found = pod(name)
    (container,) = found["containers"]
    assert found["securityContext"]["runAsNonRoot"]
    assert found["securityContext"]["runAsUser"] == 65532
    assert found["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert found["automountServiceAccountToken"] is False
    assert found["enableServiceLinks"] is False
    image_user = re.search(r"^USER (\d+)", (ROOT / "docker" / "Dockerfile").read_text(), re.MULTILINE)
    assert int(image_user[1]) == found["securityContext"]["runAsUser"]


def test_a_change_of_a_setting_or_a_handler_replaces_the_pods():
    """The checksum is of what they read at their start."""

    def checksum(*options):
        template = only("everything", "Deployment", *options)["spec"]["template"]
        return template["metadata"]["annotations"]["checksum/config"]

    assert checksum() == checksum("--set", "replicas=5")
    assert checksum() != checksum("--set", "config.batch.size=7")
    assert checksum() != checksum("--set-string", "handlers.other\\.py=pass")


def test_probes_ask_the_endpoints_that_there_are_and_liveness_never_asks_aws():
    """A restart cures neither AWS nor a lag."""
    (container,) = pod("minimal")["containers"]
    asked = {
        probe: container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert asked == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    source = (ROOT / "consumer" / "headrace" / "ops" / "endpoints.py").read_text()
    assert all(f'add_get("{path}"' in source for path in asked.values())


def test_the_autoscaler_owns_the_number_of_workers_where_there_is_one(tmp_path):
    """A deploy must not set it back."""
    assert "replicas" not in only("everything", "Deployment")["spec"]
    spec = only("everything", "ScaledObject")["spec"]
    assert spec["scaleTargetRef"]["name"] == only("everything", "Deployment")["metadata"]["name"]
    for trigger in spec["triggers"]:
        assert list(troubles(trigger["metadata"]["query"])) == []
    queries = [{"record": f"query:{n}", "expr": one["metadata"]["query"]} for n, one in enumerate(spec["triggers"])]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": queries}]}))
    assert "2 rules found" in accepted("promtool", "check", "rules", "--lint=none", tmp_path / "rules.yml")


def test_alerts_carry_the_chart_s_thresholds_and_the_release_s_own_job(tmp_path):
    """The operator names the job of a PodMonitor NAMESPACE/NAME."""
    spec = only("everything", "PrometheusRule")["spec"]
    by_name = {rule["alert"]: rule for rule in spec["groups"][0]["rules"]}
    assert by_name["HeadraceLagHigh"]["expr"].endswith("> 120")
    assert by_name["HeadraceLagHigh"]["labels"] == {"severity": "warning", "team": "sensors"}
    assert all('job="streams/readings-headrace"' in rule["expr"] for rule in by_name.values())
    assert only("everything", "PodMonitor")["metadata"]["name"] == "readings-headrace"
    assert "@" not in str(spec), "something was not filled in"
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump(spec))
    accepted("promtool", "check", "rules", path)


def test_the_boards_are_handed_to_grafana_as_they_are():
    """The sidecar looks for the label."""
    (found,) = [one for one in objects("everything") if one["metadata"]["name"].endswith("-dashboards")]
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    for name, text in found["data"].items():
        assert text == (CHART / "files" / "dashboards" / name).read_text().rstrip("\n")


def test_workers_reach_each_other_where_traffic_is_limited():
    """Nudges go from worker to worker; without them a handoff waits for a poll."""
    policy = only("everything", "NetworkPolicy")["spec"]
    workers = {"podSelector": policy["podSelector"]}
    assert workers in policy["ingress"][0]["from"]
    assert [workers] == policy["egress"][0]["to"]
    assert policy["egress"][-1]["ports"][0]["port"] == 5432


@pytest.mark.parametrize("name", SETS)
def test_helm_test_runs_the_doctor_as_the_workers_are_run(name):
    """Their image, identity and settings, and no label that makes it one of them."""
    doctor, (worker,) = only(name, "Pod"), pod(name)["containers"]
    assert doctor["metadata"]["annotations"]["helm.sh/hook"] == "test"
    spec, (container,) = doctor["spec"], doctor["spec"]["containers"]
    assert container["args"] == ["doctor"]
    assert "doctor" in {command.callback.__name__ for command in operators.registered_commands if command.callback}
    for key in ("image", "envFrom", "securityContext"):
        assert container[key] == worker[key], key
    for key in ("serviceAccountName", "automountServiceAccountToken", "enableServiceLinks", "securityContext"):
        assert spec[key] == pod(name)[key], key
    own = {"HEADRACE_OPS_ADDRESS", "HEADRACE_LEASE_DEPLOYMENT", "HEADRACE_TRACES_ENABLED", "POD_NAME"}
    shared = [one for one in worker["env"] if one["name"] not in own and not one["name"].startswith("OTEL_")]
    assert container.get("env", []) == shared
    selector = only(name, "Deployment")["spec"]["selector"]["matchLabels"]
    assert not selector.items() <= doctor["metadata"]["labels"].items()


def test_the_doctor_may_ask_the_workers_where_traffic_is_limited():
    """It asks each for its version and its clock."""
    (rule,) = only("everything", "NetworkPolicy")["spec"]["ingress"]
    labels = only("everything", "Pod")["metadata"]["labels"]
    allowed = [one["podSelector"]["matchLabels"] for one in rule["from"] if "podSelector" in one]
    assert any(match.items() <= labels.items() for match in allowed)


def test_traces_go_to_the_collector_that_is_named_and_may_get_there():
    """One value: the worker traces, says which pod it is, and the network lets it out."""
    (container,) = pod("everything")["containers"]
    environment = {one["name"]: one.get("value") for one in container["env"]}
    assert environment["HEADRACE_TRACES_ENABLED"] == "true"
    assert environment["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector.monitoring.svc:4318"
    assert environment["OTEL_RESOURCE_ATTRIBUTES"] == (
        "k8s.namespace.name=streams,k8s.deployment.name=readings-headrace,k8s.pod.name=$(POD_NAME)"
    )
    names = [one["name"] for one in container["env"]]
    assert names.index("POD_NAME") < names.index("OTEL_RESOURCE_ATTRIBUTES"), "it is filled in only behind it"
    (container,) = pod("minimal")["containers"]
    assert not [one["name"] for one in container["env"] if "OTEL" in one["name"] or "TRACES" in one["name"]]


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [("http://collector:4318", 4318), ("https://otlp.example.com", 443), ("http://collector/base", 80)],
)
def test_the_network_policy_lets_traces_out_by_the_port_of_the_collector(endpoint, port):
    """And no other."""
    policy = only("everything", "NetworkPolicy", "--set", f"traces.endpoint={endpoint}")["spec"]
    assert {"ports": [{"port": port, "protocol": "TCP"}]} in policy["egress"]


def test_every_value_is_explained():
    """The README is made from the comments."""
    explained = {path for path, _, _ in chart_readme.values()}

    def leaves(value, path=""):
        if isinstance(value, dict) and value and path not in chart_schema.FREE_OBJECTS:
            for key, one in value.items():
                yield from leaves(one, f"{path}.{key}" if path else key)
        else:
            yield path

    assert set(leaves(yaml.safe_load((CHART / "values.yaml").read_text()))) == explained


@pytest.mark.parametrize("page", [ROOT / "docs" / "kubernetes.md", CHART / "README.md"], ids=lambda page: page.name)
def test_the_values_that_the_documentation_shows_are_good(page):
    """Whoever copies them gets a worker that starts."""
    (shown,) = re.findall(r"```yaml\n(config:.*?)```", page.read_text(), re.DOTALL)
    accepted("helm", "lint", "--strict", CHART, "-f", "-", given=shown)
    made = accepted("helm", "template", "readings", CHART, "-f", "-", given=shown)
    maps = [one for one in yaml.safe_load_all(made) if one and one["kind"] == "ConfigMap"]
    settings = load([], next(one["data"] for one in maps if "HEADRACE_APPLICATION" in one["data"]))
    assert settings.sink.table == "readings"

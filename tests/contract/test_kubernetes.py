"""The Kubernetes manifests: against the schemas of the API, and against what the product has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from lyo.cli.main import COMMANDS
from lyo.predictive.api.health import router
from lyo.streams.settings_reference import reference

FOLDER = Path(__file__).parents[2] / "ops" / "deploy" / "kubernetes"
VERSIONS = ("1.29", "1.33", kubernetes_validate.latest_version())
PROCESSES = ("worker", "sink", "api", "monitor")
JOBS = ("topics", "migrate")
KNOWN_SETTINGS = {one.variable for one in reference()}


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(FOLDER.rglob("*.yaml")):
        for number, document in enumerate(yaml.safe_load_all(path.read_text())):
            name = f"{path.parent.name}/{path.stem}-{number}"
            yield name, document


ALL = dict(documents())
OPERATORS = {name: one for name, one in ALL.items() if "monitoring.coreos.com" in one["apiVersion"]}
MANIFESTS = {
    name: one for name, one in ALL.items() if one["kind"] != "Kustomization" and name not in OPERATORS
}
PODS = {
    one["metadata"]["name"]: one["spec"]["template"]["spec"]
    for one in MANIFESTS.values()
    if one["kind"] in {"Deployment", "Job"}
}


def of(kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in MANIFESTS.values() if one["kind"] == kind}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", MANIFESTS)
def test_every_manifest_fits_the_schema_of_its_kind(name: str, version: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], version, strict=True)


def test_the_schemas_refuse_what_does_not_fit() -> None:
    worker = yaml.safe_load((FOLDER / "base" / "worker.yaml").read_text().split("\n---\n")[0])
    worker["spec"]["template"]["spec"]["containers"][0]["readinessProb"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readinessProb"):
        kubernetes_validate.validate(worker, VERSIONS[-1], strict=True)


def test_every_process_and_job_is_there_and_runs_a_command_of_ours() -> None:
    assert set(of("Deployment")) == set(PROCESSES)
    assert set(of("Job")) == set(JOBS)
    for name, pod in PODS.items():
        assert [container["args"] for container in pod["containers"]] == [[name]]
        assert name in COMMANDS


@pytest.mark.parametrize("name", PODS)
def test_pods_are_as_restricted_as_the_namespace_asks(name: str) -> None:
    pod = PODS[name]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod["automountServiceAccountToken"]
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"]
        assert not context["allowPrivilegeEscalation"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]
        assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]


@pytest.mark.parametrize("name", PROCESSES)
def test_every_process_has_probes_on_a_port_it_names(name: str) -> None:
    (container,) = PODS[name]["containers"]
    ports = {port["name"] for port in container["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] in ports


def test_the_apis_probes_are_routes_that_it_has() -> None:
    (container,) = PODS["api"]["containers"]
    routes = {getattr(route, "path", "") for route in router.routes}
    assert container["livenessProbe"]["httpGet"]["path"] in routes
    assert container["readinessProbe"]["httpGet"]["path"] in routes


@pytest.mark.parametrize("name", PROCESSES)
def test_a_node_can_be_drained_one_pod_of_a_kind_at_a_time(name: str) -> None:
    budget = of("PodDisruptionBudget")[name]["spec"]
    assert budget["maxUnavailable"] == 1
    labels = of("Deployment")[name]["spec"]["template"]["metadata"]["labels"]
    assert budget["selector"]["matchLabels"].items() <= labels.items()


def test_workers_scale_on_lag_within_the_number_of_partitions() -> None:
    scaler = of("HorizontalPodAutoscaler")["worker"]["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "worker"}
    assert [one["external"]["metric"]["name"] for one in scaler["metrics"]] == ["lyo_lag_seconds_max"]
    assert scaler["maxReplicas"] <= int(literals()["LYO_PARTITIONS"])


def test_every_setting_exists() -> None:
    named = {
        one["name"]
        for pod in PODS.values()
        for container in pod["containers"]
        for one in container.get("env", ())
    }
    assert named | set(literals()) <= KNOWN_SETTINGS


def test_the_jobs_create_what_the_processes_expect() -> None:
    (container,) = PODS["topics"]["containers"]
    own = {one["name"]: one["value"] for one in container["env"]}
    assert own.items() <= literals().items()


def test_a_kustomization_names_files_that_are_there_and_all_of_them() -> None:
    for path in FOLDER.rglob("kustomization.yaml"):
        named = {(path.parent / one).resolve() for one in yaml.safe_load(path.read_text())["resources"]}
        beside = {one.resolve() for one in path.parent.glob("*.yaml")} - {path.resolve()}
        assert all(one.exists() for one in named)
        assert beside <= named


def test_the_operator_reads_every_process_at_a_port_it_names_under_the_alerts_jobs() -> None:
    read = {}
    for one in OPERATORS.values():
        assert one["kind"] == "PodMonitor"
        selector = one["spec"]["selector"]
        (endpoint,) = one["spec"]["podMetricsEndpoints"]
        (job,) = endpoint["relabelings"]
        assert (job["targetLabel"], job["replacement"]) == ("job", "lyo-$1")
        assert job["sourceLabels"] == ["__meta_kubernetes_pod_label_app_kubernetes_io_name"]
        wanted = {
            expression["key"]: expression["values"] for expression in selector.get("matchExpressions", ())
        }
        wanted |= {key: [value] for key, value in selector.get("matchLabels", {}).items()}
        for name, deployment in of("Deployment").items():
            labels = deployment["spec"]["template"]["metadata"]["labels"]
            if all(labels[key] in values for key, values in wanted.items()):
                (container,) = PODS[name]["containers"]
                assert endpoint["port"] in {port["name"] for port in container["ports"]}
                read[name] = job["replacement"].replace("$1", labels["app.kubernetes.io/name"])
    assert read == {name: f"lyo-{name}" for name in PROCESSES}


def test_the_job_that_makes_the_topics_can_sign_in() -> None:
    (container,) = PODS["topics"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "lyo", "optional": True}}]


def test_they_are_labelled_as_not_run_on_a_cluster() -> None:
    for folder in ("base", "lag-scaling", "monitoring"):
        text = " ".join((FOLDER / folder / "kustomization.yaml").read_text().replace("#", "").split())
        assert "never run on a cluster" in text


def literals() -> dict[str, str]:
    (generator,) = ALL["base/kustomization-0"]["configMapGenerator"]
    return dict(line.split("=", 1) for line in generator["literals"])

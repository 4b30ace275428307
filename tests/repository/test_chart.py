"""deploy/chart, the Helm chart, gives what deploy/kubernetes.yaml has, and names only what there is."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from test_deploy import DEPLOY, documents, yaml

import camserve
from camserve.config import load_settings

CHART = DEPLOY / "chart"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
TEMPLATES = {path.name: path.read_text() for path in (CHART / "templates").iterdir()}
# What the chart says beyond the plain manifests.
LABELS = {
    "app.kubernetes.io/instance": "camserve",
    "app.kubernetes.io/managed-by": "Helm",
    "app.kubernetes.io/version": camserve.__version__,
}


HELM = """
import json, sys
import helm_python as helm

folder, name, values = sys.argv[1:]
with helm.Chart.load(folder) as chart:
    texts = chart.render(json.loads(values), name=name, namespace="prod").values()
print(json.dumps([helm.lint(folder)["errors"], list(texts)]))
"""


def rendered(values: dict[str, Any], name: str = "camserve") -> dict[str, Any]:
    """{kind: document} that Helm makes of the chart, in a process of its own: Go's threads and torch's do not mix."""
    if find_spec("helm_python") is None:
        pytest.skip("Helm for Python is not installed: pip install helm-python-sdk")
    words = [sys.executable, "-c", HELM, str(CHART), name, json.dumps(values)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    errors, texts = json.loads(done.stdout)
    assert errors == []
    return {one["kind"]: one for text in texts for one in yaml.safe_load_all(text) if one}


def without_labels(value: Any) -> Any:
    """A document without the labels that only the chart has."""
    if isinstance(value, dict):
        return {key: without_labels(one) for key, one in value.items() if key not in LABELS}
    return [without_labels(one) for one in value] if isinstance(value, list) else value


def test_by_itself_it_gives_the_plain_manifests() -> None:
    made, plain = rendered({}), documents("kubernetes.yaml")
    assert set(made) == set(plain)
    assert made["Deployment"]["metadata"]["labels"].items() >= LABELS.items()
    made["Service"]["spec"].pop("type")
    made["Deployment"]["spec"]["template"]["spec"]["containers"][0].pop("imagePullPolicy")
    assert without_labels(made) == plain


def test_every_value_has_its_effect() -> None:
    values = {
        "replicas": 5,
        "image": {
            "repository": "example/camserve",
            "tag": "9",
            "pullPolicy": "Always",
            "pullSecrets": [{"name": "reg"}],
        },
        "settings": {"serve.preload": "finch", "limits.megapixels": 24},
        "token": {"secret": "mine", "key": "word"},
        "models": {"claim": "nets"},
        "cache": {"size": "3Gi"},
        "service": {"type": "NodePort", "port": 81},
        "resources": {"limits": {"cpu": "1"}},
        "minAvailable": 2,
        "terminationGracePeriodSeconds": 120,
        "serviceMonitor": {"enabled": True, "interval": "10s"},
    }
    assert set(values) == set(VALUES)
    made = rendered(values, "finches")
    assert {one["metadata"]["name"] for one in made.values()} == {"finches-camserve"}
    pod = made["Deployment"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    variables = {one["name"]: one for one in container["env"]}
    given = {name: one["value"] for name, one in variables.items() if "value" in one}
    assert given == {"CAMSERVE_SERVE_PRELOAD": "finch", "CAMSERVE_LIMITS_MEGAPIXELS": "24"}
    settings = load_settings(environ=given)
    assert (settings.serve.preload, settings.limits.megapixels) == (("finch",), 24)
    key = variables["CAMSERVE_SERVE_TOKEN"]["valueFrom"]["secretKeyRef"]
    assert (key["name"], key["key"]) == ("mine", "word")
    assert (container["image"], container["imagePullPolicy"]) == ("example/camserve:9", "Always")
    assert (pod["imagePullSecrets"], container["resources"]) == ([{"name": "reg"}], {"limits": {"cpu": "1"}} | {
        "limits": {"cpu": "1", "memory": "6Gi"}, "requests": VALUES["resources"]["requests"]})  # fmt: skip
    volumes = {one["name"]: one for one in pod["volumes"]}
    assert volumes["models"]["persistentVolumeClaim"] == {"claimName": "nets"}
    assert volumes["cache"]["emptyDir"] == {"sizeLimit": "3Gi"}
    assert (made["Deployment"]["spec"]["replicas"], pod["terminationGracePeriodSeconds"]) == (5, 120)
    assert made["PodDisruptionBudget"]["spec"]["minAvailable"] == 2
    assert (made["Service"]["spec"]["type"], made["Service"]["spec"]["ports"][0]["port"]) == ("NodePort", 81)
    (endpoint,) = made["ServiceMonitor"]["spec"]["endpoints"]
    assert (endpoint["path"], endpoint["interval"]) == ("/metrics", "10s")
    assert endpoint["authorization"]["credentials"] == {"name": "mine", "key": "word"}
    assert endpoint["port"] in {port["name"] for port in made["Service"]["spec"]["ports"]}


def test_templates_and_values_name_the_same() -> None:
    """Without Helm as well."""
    used = {found for text in TEMPLATES.values() for found in re.findall(r"\.Values\.([\w.]+)", text)}
    known = {f"{name}.{key}" for name, one in VALUES.items() if isinstance(one, dict) for key in one} | set(VALUES)
    assert used <= known
    assert {name for name in VALUES if not any(one.split(".")[0] == name for one in used)} == set()
    helpers = {found for text in TEMPLATES.values() for found in re.findall(r'include "([\w.]+)"', text)}
    assert helpers == set(re.findall(r'define "([\w.]+)"', TEMPLATES["_names.tpl"]))


def test_settings_in_comments_are_settings() -> None:
    found = dict(re.findall(r"^#  (\w+\.\w+): (\S+)$", (CHART / "values.yaml").read_text(), re.MULTILINE))
    assert len(found) == 2
    load_settings(environ={f"CAMSERVE_{name.replace('.', '_').upper()}": value for name, value in found.items()})


def test_the_chart_is_of_this_version() -> None:
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (about["version"], about["appVersion"]) == (camserve.__version__,) * 2
    assert Path(CHART).name in (DEPLOY.parent / "docs" / "deploy.md").read_text()

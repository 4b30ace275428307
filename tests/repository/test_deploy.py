"""deploy/ is true: what it says is what the code has, and what can run here runs."""

import http.client
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from conftest import Answer, picture, wait_until_ready

import camserve
from camserve.config import load_settings
from camserve.images.reading import encode
from camserve.web.problems import ProblemBody
from camserve.web.server.serve import Server
from camserve.web.work.admission import ENVELOPE_BYTES

yaml: Any = pytest.importorskip("yaml")

DEPLOY = Path(camserve.__file__).parent.parent / "deploy"
SETTINGS = load_settings(environ={})
EXPLAIN = "/api/v1/explain"
PNG = encode(picture(), "png")


def instructions() -> list[tuple[str, str]]:
    """(name, what follows) of each line of the Containerfile, those that go on joined."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Containerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines if line)]


def instruction(name: str) -> str:
    """What the last one of that name says."""
    return [rest for each, rest in instructions() if each == name][-1]


def documents(file: str) -> dict[str, Any]:
    """{kind: document} of a file of Kubernetes'."""
    return {one["kind"]: one for one in yaml.safe_load_all((DEPLOY / file).read_text())}


def pods() -> list[dict[str, Any]]:
    """What Kubernetes and KServe are told of a pod."""
    deployment = documents("kubernetes.yaml")["Deployment"]
    return [
        deployment["spec"]["template"]["spec"],
        documents("inference-service.yaml")["InferenceService"]["spec"]["predictor"],
    ]


def containers() -> list[dict[str, Any]]:
    return [container for pod in pods() for container in pod["containers"]]


def compose() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    return services


def image_environment() -> dict[str, str]:
    """The variables of the image, beyond PATH."""
    variables = dict(one.split("=", 1) for one in shlex.split(instruction("ENV")))
    return {name: value for name, value in variables.items() if name != "PATH"}


def seconds(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(s|m)", text).groups()
    return float(number) * {"s": 1, "m": 60}[unit]


def gunicorn_s(name: str) -> int:
    """A setting of gunicorn's, in seconds, as camserve makes it."""
    server = Server(SETTINGS, socket.socket(), lambda: None)
    os.close(int(server.bind.removeprefix("fd://")))
    return int(getattr(server.cfg, name))


def longest_answer() -> int:
    """Seconds that the service takes at most to end, once it is told to."""
    return gunicorn_s("graceful_timeout")


# ---- what the files say


def test_every_variable_is_a_setting() -> None:
    for variables in (
        image_environment(),
        compose()["camserve"]["environment"],
        *({one["name"]: "" for one in container.get("env", [])} for container in containers()),
    ):
        known = {name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value) for name, value in variables.items()}
        load_settings(environ=known)


def test_all_name_one_image_of_this_version() -> None:
    named = {container["image"] for container in containers()} | {compose()["camserve"]["image"]}
    assert named == {f"camserve:{camserve.__version__}"}
    assert f"-t camserve:{camserve.__version__} " in (DEPLOY / "Containerfile").read_text()


def test_the_image_is_made_of_all_that_the_package_is_built_of() -> None:
    copied = {Path(part) for name, rest in instructions() if name == "COPY" for part in rest.split()[:-1]}
    root = DEPLOY.parent
    assert all((root / path).exists() for path in copied if not path.is_absolute() and "--from" not in str(path))
    project = tomllib.loads((root / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    needed |= {*wheel["packages"], *wheel["force-include"], "hatch_build.py"}
    assert {Path(name) for name in needed} <= copied


def test_every_argument_of_the_build_is_documented() -> None:
    known = {rest.partition("=")[0] for name, rest in instructions() if name == "ARG"}
    page = (DEPLOY.parent / "docs" / "deploy.md").read_text()
    assert set(re.findall(r"--build-arg (\w+)=", page)) == known
    assert {rest.split()[0] for name, rest in instructions() if name == "FROM"} == {"${BASE}"}


def test_nothing_runs_as_root_or_may_write_its_own_disk() -> None:
    user = int(instruction("USER"))
    assert user > 0
    for pod in pods():
        assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, user)
    for container in containers():
        allowed = container["securityContext"]
        assert (allowed["allowPrivilegeEscalation"], allowed["readOnlyRootFilesystem"]) == (False, True)
        assert allowed["capabilities"] == {"drop": ["ALL"]}
    assert (compose()["camserve"]["read_only"], compose()["camserve"]["cap_drop"]) == (True, ["ALL"])


def test_what_the_service_writes_is_mounted() -> None:
    """gunicorn's own files in /tmp, and converted networks."""
    cache = image_environment()["CAMSERVE_COMPUTE_CACHE"]
    for pod in pods():
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            assert {"/tmp", cache} <= set(mounts)
            assert set(mounts.values()) <= volumes
    service = compose()["camserve"]
    assert service["tmpfs"] == "/tmp"
    assert f"cache:{cache}" in service["volumes"]


def test_ports_meet() -> None:
    port = int(image_environment()["CAMSERVE_SERVE_PORT"])
    assert instruction("EXPOSE") == str(port)
    for container in containers():
        assert [one["containerPort"] for one in container["ports"]] == [port]
    (to,) = documents("kubernetes.yaml")["Service"]["spec"]["ports"]
    assert to["targetPort"] == containers()[0]["ports"][0]["name"]
    assert f"server camserve:{port};" in nginx_conf()
    listened = re.search(r"listen (\d+);", nginx_conf())
    assert listened is not None
    assert compose()["nginx"]["ports"] == [f"8080:{listened[1]}"]


def test_selectors_find_the_pods() -> None:
    made = documents("kubernetes.yaml")
    labels = made["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for chosen in (
        made["Deployment"]["spec"]["selector"]["matchLabels"],
        made["Service"]["spec"]["selector"],
        made["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert chosen.items() <= labels.items()


def test_nobody_is_killed_before_the_last_answer() -> None:
    pod = pods()[0]
    pause = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > longest_answer() + pause
    assert seconds(compose()["camserve"]["stop_grace_period"]) > longest_answer()
    assert pods()[1]["timeout"] > longest_answer()


def test_kubernetes_and_kserve_know_every_field() -> None:
    client: Any = pytest.importorskip("kubernetes.client", reason="the models of Kubernetes come with kserve")
    kserve: Any = pytest.importorskip("kserve")

    def made(value: Any, kind: str, where: str) -> Any:
        """`value` as an object of the client's, which holds it to the names, types and musts of the API."""
        inner = re.fullmatch(r"list\[(.+)\]", kind)
        if inner:
            assert isinstance(value, list), where
            return [made(one, inner[1], f"{where}.{place}") for place, one in enumerate(value)]
        model = getattr(kserve, kind, None) or getattr(client, kind, None)
        if model is None or not hasattr(model, "attribute_map"):
            plain = {"str": str, "int": int, "bool": bool}.get(kind)
            assert plain is None or type(value) is plain, f"{where}: {value!r} is no {kind}"
            return value
        names = {theirs: ours for ours, theirs in model.attribute_map.items()}
        assert set(value) <= set(names), f"{where}: {set(value) - set(names)}"
        fields = {names[key]: (one, model.openapi_types[names[key]], f"{where}.{key}") for key, one in value.items()}
        return model(**{name: made(*field) for name, field in fields.items()})

    for document in documents("kubernetes.yaml").values():
        made(document, f"V1{document['kind']}", document["kind"])
    made(documents("inference-service.yaml")["InferenceService"], "V1beta1InferenceService", "InferenceService")
    with pytest.raises(AssertionError, match="livenesProbe"):
        made({"name": "x", "livenesProbe": {}}, "V1Container", "x")
    with pytest.raises(ValueError, match="name"):
        made({"image": "x"}, "V1Container", "x")


# ---- the image's command, as a process


class Running(NamedTuple):
    """The Containerfile's command. environ: what it was started with."""

    url: str
    environ: dict[str, str]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """CMD as it stands, in the environment of the image but for the port and the folders."""
    if shutil.which("camserve", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("camserve is not installed as a command; pip install -e .")
    folder = tmp_path_factory.mktemp("image")
    own = {name: value for name, value in os.environ.items() if name in ("PYTHONPATH", "OMP_NUM_THREADS")}
    environ = {
        **own,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        **image_environment(),
        "CAMSERVE_SERVE_PORT": str(free_port()),
        "CAMSERVE_MODELS_FOLDERS": str(folder / "models"),
        "CAMSERVE_COMPUTE_CACHE": str(folder / "cache"),
    }
    with subprocess.Popen(json.loads(instruction("CMD")), env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "open to the network" in process.stdout.readline()
            url = f"http://127.0.0.1:{environ['CAMSERVE_SERVE_PORT']}"
            wait_until_ready(url)
            yield Running(url, environ)
        finally:
            process.terminate()
            assert process.wait(60) == 0


def test_every_probe_is_answered(running: Running) -> None:
    probes = [probe for one in containers() for name, probe in one.items() if name.endswith("Probe")]
    assert len(probes) == 5
    for probe in probes:
        with urllib.request.urlopen(running.url + probe["httpGet"]["path"]) as answer:
            assert answer.status == 200


def test_the_health_check_tells_a_service_from_none(running: Running) -> None:
    command = instruction("HEALTHCHECK").partition(" CMD ")[2]
    well = subprocess.run(["sh", "-c", command], env=running.environ, check=False)
    assert well.returncode == 0
    none = {**running.environ, "CAMSERVE_SERVE_PORT": str(free_port())}
    ill = subprocess.run(["sh", "-c", command], env=none, capture_output=True, check=False)
    assert ill.returncode == 1


def test_the_build_tries_the_image_before_it_is_one(running: Running) -> None:
    command = [rest for name, rest in instructions() if name == "RUN"][-1]
    tried = subprocess.run(["sh", "-c", command], env=running.environ, capture_output=True, text=True, check=False)
    assert tried.returncode == 0, tried.stderr
    assert tried.stdout.startswith("efficientnet-lite0: ")


# ---- nginx


def nginx_conf() -> str:
    return (DEPLOY / "nginx.conf").read_text()


def setting(name: str) -> str:
    """The value of one directive of nginx.conf."""
    found = re.search(rf"^ *{name} ([^;]+);", nginx_conf(), re.MULTILINE)
    assert found is not None, name
    return found[1]


def test_nginx_waits_longer_and_takes_as_much_as_camserve() -> None:
    assert seconds(setting("proxy_read_timeout")) > SETTINGS.serve.deadline_seconds + 15
    size = int(setting("client_max_body_size").removesuffix("k")) * 1024
    assert size == SETTINGS.limits.max_bytes + ENVELOPE_BYTES
    assert f"{SETTINGS.limits.body_megabytes:g} MiB" in nginx_conf()
    assert setting("proxy_request_buffering") == "on"
    assert seconds(setting("keepalive_timeout")) < gunicorn_s("keepalive")


@contextmanager
def nginx(folder: Path, upstream: str) -> Iterator[str]:
    """The address of a real nginx with deploy/nginx.conf, other ports and folders, before `upstream`."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("no nginx installed")
    port = free_port()
    replaced = {"listen 8080": f"listen 127.0.0.1:{port}", "camserve:8080": upstream, "/tmp/": f"{folder}/"}
    text = nginx_conf()
    for old, new in {**replaced, "/dev/stdout": f"{folder}/access.log"}.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "nginx.conf").write_text(text)
    as_root = " user root;" if os.geteuid() == 0 else ""  # its workers read and write in the test's folder
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", f"daemon off;{as_root}"]
    with subprocess.Popen(command) as process:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="module")
def proxy(running: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with nginx(tmp_path_factory.mktemp("nginx"), urlsplit(running.url).netloc) as url:
        yield url


def ask(url: str, path: str, data: bytes | None = None, **headers: str) -> Answer:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    try:
        connection.request("GET" if data is None else "POST", path, data, headers)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def test_an_answer_through_nginx_is_the_answer(proxy: str, running: Running, cat: Path) -> None:
    from PIL import Image

    with Image.open(cat) as opened:
        photo = encode(opened, "jpeg")
    direct = ask(running.url, EXPLAIN, photo, **{"Content-Type": "image/jpeg"})
    through = ask(proxy, EXPLAIN, photo, **{"Content-Type": "image/jpeg", "X-Request-Id": "job-7"})
    assert (through.status, through.data) == (200, direct.data)
    assert through.headers["ETag"] == direct.headers["ETag"]
    assert through.headers["X-Request-Id"] == "job-7"
    hostile = ask(proxy, "/livez", None, **{"X-Request-Id": 'a"b'})
    assert re.fullmatch("[0-9a-f]{32}", hostile.headers["X-Request-Id"])
    wrong = ask(proxy, f"{EXPLAIN}?alpah=1", photo, **{"Content-Type": "image/jpeg"})
    assert (wrong.status, json.loads(wrong.data)["code"]) == (400, "unknown_name")


def test_nginx_refuses_a_body_that_is_too_large_as_camserve_does(proxy: str, running: Running) -> None:
    largest = SETTINGS.limits.max_bytes + ENVELOPE_BYTES
    passed = ask(proxy, EXPLAIN, bytes(largest), **{"Content-Type": "application/octet-stream"})
    assert (passed.status, "X-Request-Id" in passed.headers) == (413, True)  # by camserve: it is no form
    for url in (proxy, running.url):
        with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=3) as raw:
            raw.sendall(f"POST {EXPLAIN} HTTP/1.1\r\nHost: x\r\nContent-Length: {largest + 1}\r\n\r\n".encode())
            answer = http.client.HTTPResponse(raw)
            answer.begin()
            body = json.loads(answer.read())
        assert (answer.status, answer.headers["Content-Type"]) == (413, "application/problem+json")
        assert (body["code"], body["status"], body["error"]) == ("body_too_large", 413, body["detail"])
        assert set(body) == set(ProblemBody.__annotations__)
    assert ask(proxy, "/livez").status == 200


def test_slow_uploads_end_at_nginx(proxy: str, running: Running) -> None:
    head = f"POST {EXPLAIN} HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 9999\r\n\r\n".encode()
    slow = [socket.create_connection(("127.0.0.1", urlsplit(proxy).port)) for _ in range(64)]
    try:
        for connection in slow:
            connection.sendall(head + b"x")
        start = time.monotonic()
        assert [ask(proxy, "/readyz").status for _ in range(5)] == [200] * 5
        assert time.monotonic() - start < 2
        metrics = ask(running.url, "/metrics").data.decode()
        assert "\ncamserve_uploads 0.0\n" in metrics
        assert ask(proxy, EXPLAIN, PNG, **{"Content-Type": "image/png"}).status == 200
    finally:
        for connection in slow:
            connection.close()


def test_nginx_says_in_camserve_s_words_that_it_is_away(tmp_path: Path) -> None:
    with nginx(tmp_path, f"127.0.0.1:{free_port()}") as url:
        answer = ask(url, "/readyz", None, **{"X-Request-Id": "job-7"})
    assert (answer.status, answer.headers["Content-Type"]) == (503, "application/problem+json")
    assert "Retry-After" in answer.headers
    problem = json.loads(answer.data)
    assert (problem["status"], problem["code"], problem["request_id"]) == (503, "unavailable", "job-7")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    end = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            assert time.monotonic() < end, "nginx did not start"
            time.sleep(0.05)

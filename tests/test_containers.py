"""compose.yaml and deploy/: what their commands start, and that they agree with the Dockerfile.

`tests/container.py` tries the steps of the Dockerfile itself.
"""

import os
import re
import runpy
import subprocess
from urllib.parse import urlsplit

import pytest
import requests
import yaml
from conftest import ROOT
from container import environment, the
from programs import free_port, gunicorn_command, listens, needs, posix, until
from visitor import Visitor

from flask_entra.settings import SETTINGS


@pytest.fixture
def services():
    """The services of compose.yaml, with the values that Compose puts in."""
    values = {"REDIS_PASSWORD": "a-password", "REDIRECT_URI": "https://localhost:8443/getAToken"}
    text = re.sub(r"\$\{(\w+):\?[^}]*\}", lambda found: values[found[1]], (ROOT / "compose.yaml").read_text()).replace(
        "$$", "$"
    )
    return yaml.safe_load(text)["services"]


def script(service, **changes):
    """The script that a service runs, with paths and addresses of this machine."""
    *shell, text = service["command"]
    assert shell == ["/bin/sh", "-ec"]
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, str(new))
    return text


def documented(name):
    """A command of docs/operate.md."""
    page = (ROOT / "docs" / "operate.md").read_text()
    return page.partition(f"<!-- command: {name} -->\n```sh\n")[2].partition("```")[0]


@posix
@pytest.mark.slow
def test_the_composition_signs_people_in(services, serve, box, tmp_path):
    for program in ("redis-server", "nginx", "openssl"):
        needs(program)
    commands = documented("certificates").replace("app.example.com", "localhost")
    subprocess.run(["sh", "-ec", commands], cwd=tmp_path, check=True, capture_output=True)
    for name in ("run/redis", "data", "conf.d", "temporary"):
        (tmp_path / name).mkdir(parents=True)
    redis_port, site_port, *ports = (free_port() for _ in range(4))
    certificates = f"{tmp_path}/certificates/"
    redis = script(
        services["redis"],
        **{"/run/": f"{tmp_path}/run/", "/certificates/": certificates, "/data": tmp_path / "data"},
        **{"docker-entrypoint.sh ": "", "chown -R redis": "ls", "6379": redis_port},
    )
    addresses = [services[name]["networks"]["inner"]["ipv4_address"] for name in ("app-1", "app-2")]
    inside = {f"{address}:8000": f"127.0.0.1:{port}" for address, port in zip(addresses, ports, strict=True)}
    nginx = script(
        services["nginx"],
        **{"/nginx.conf": ROOT / "nginx.conf", "/etc/nginx/": f"{tmp_path}/", "/certificates/": certificates},
        **{"exec nginx -g 'daemon off;'": ""},
        **inside,
    )
    of_compose = {**os.environ, "REDIRECT_URI": f"https://localhost:{site_port}/getAToken"}
    subprocess.run(["sh", "-ec", nginx], env=of_compose, check=True)
    site = (tmp_path / "conf.d/default.conf").read_text()
    assert "server_name localhost;" in site
    assert not re.search(r"(?m)^[^#]*(example\.com|/var/log|:800[01] )", site)
    temporary = "".join(
        f"{each}_temp_path {tmp_path}/temporary;" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; pid {tmp_path}/nginx.pid; events {{}} http {{ {temporary} "
        + site.replace("listen 443", f"listen 127.0.0.1:{site_port}")
        + "}"
    )
    of_redis = {**os.environ, **services["redis"]["environment"]}
    started = [subprocess.Popen(["sh", "-ec", redis], env=of_redis, stdout=subprocess.DEVNULL)]
    try:
        started.append(subprocess.Popen(["nginx", "-c", tmp_path / "nginx.conf", "-p", tmp_path]))
        until(lambda: listens(redis_port) and listens(site_port))
        assert "a-password" not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
        settings = services["app-1"]["environment"]
        url = settings["REDIS_URL"].replace("redis:6379", f"localhost:{redis_port}")
        settings = {**settings, "REDIS_URL": url.replace("/certificates/", certificates)}
        for port in ports:
            serve(command=gunicorn_command(port), port=port, **settings, REDIRECT_URI=of_compose["REDIRECT_URI"])
        person = Visitor(f"https://localhost:{site_port}")
        person.verify = str(tmp_path / "certificates" / "site.pem")
        assert "Retail Manager" in person.sign_in(path="/call_graph").text
        assert all(person.signed_in for _ in range(4))  # whichever of the two answers
        assert list((tmp_path / "data").rglob("*.aof"))
    finally:
        for each in started:
            each.terminate()
            each.wait(10)


def kubernetes():
    documents = yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text())
    return {f"{each['kind']} {each['metadata']['name']}": each for each in documents}


def test_what_starts_containers_agrees_with_the_image(services, monkeypatch):
    monkeypatch.setenv("PORT", environment()["PORT"])
    served = runpy.run_path(str(ROOT / "gunicorn.conf.py"))
    assert served["bind"] == f"0.0.0.0:{the('EXPOSE')}"
    pod = kubernetes()["Deployment flask-entra"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    user = pod["securityContext"]
    assert the("USER") == f"{user['runAsUser']}:{user['runAsGroup']}"
    assert container["ports"][0]["containerPort"] == int(the("EXPOSE"))
    longest = served["graceful_timeout"]
    assert pod["terminationGracePeriodSeconds"] > longest + int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    unit = (ROOT / "deploy" / "flask-entra@.service").read_text()
    assert int(re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[1]) > longest
    for name in ("app-1", "app-2"):
        assert int(services[name]["stop_grace_period"].removesuffix("s")) > longest
        assert services[name]["read_only"]


def test_the_ingress_treats_sign_ins_as_nginx_does():
    found, site = kubernetes(), (ROOT / "nginx.conf").read_text()
    sign_in = found["Ingress flask-entra-sign-in"]
    (rule,) = sign_in["spec"]["rules"]
    paths = {each["path"] for each in rule["http"]["paths"]}
    assert paths == {"/login", urlsplit(found["ConfigMap flask-entra"]["data"]["REDIRECT_URI"]).path}
    annotations = sign_in["metadata"]["annotations"]
    assert f"zone=strangers:10m rate={annotations['nginx.org/limit-req-rate']};" in site
    assert f"zone=strangers burst={annotations['nginx.org/limit-req-burst']} nodelay;" in site
    assert annotations["nginx.org/proxy-next-upstream"] == "off"
    hosts = {each["spec"]["rules"][0]["host"] for kind, each in found.items() if kind.startswith("Ingress")}
    assert len(hosts) == 1


def test_a_pod_signs_people_in_by_its_mounted_secret(serve, box, redis_server, tmp_path):
    container = kubernetes()["Deployment flask-entra"]["spec"]["template"]["spec"]["containers"][0]
    (mounted,) = [each["mountPath"] for each in container["volumeMounts"] if each["name"] == "secrets"]
    files = {"client-secret": box.settings["CLIENT_SECRET"], "secret-key": "k" * 32, "redis-url": redis_server.url}
    for name, value in files.items():
        (tmp_path / name).write_text(value + "\n")
    settings = {each["name"]: each["value"].replace(mounted, str(tmp_path)) for each in container["env"]}
    assert sorted(settings.values()) == sorted(str(tmp_path / name) for name in files)
    assert kubernetes()["ConfigMap flask-entra"]["data"].keys() | settings.keys() <= SETTINGS.keys()
    app = serve(**settings, CLIENT_SECRET=None)
    assert "Retail Manager" in Visitor(app.url).sign_in(path="/call_graph").text
    assert redis_server.client().keys("*")


def test_the_probes_are_answered_as_orchestrators_ask(app):
    container = kubernetes()["Deployment flask-entra"]["spec"]["template"]["spec"]["containers"][0]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        path = container[probe]["httpGet"]["path"]
        headers = {"Host": f"10.1.2.3:{urlsplit(app.url).port}", "User-Agent": "kube-probe/1.37"}
        assert requests.get(app.url + path, headers=headers, timeout=9).status_code == 200, probe

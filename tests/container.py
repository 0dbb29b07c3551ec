"""The Dockerfile without Docker: its steps, one by one, in a bare Debian root, and then the app as the image would run it.

The root is read-only, and the user is the image's. `pytest tests/container.py -n 0` begins it, as root, as `.ci/run all` does.
The base image is not tried: Debian's own Python stands in its place.
"""

import contextlib
import fnmatch
import json
import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from conftest import NETWORK, ROOT
from programs import free_port, posix, until
from visitor import Visitor

pytestmark = [posix, pytest.mark.timeout(900)]
BARE = Path.home() / ".cache" / "flask-entra-tests" / "debian"


def instructions():
    """Each instruction of the Dockerfile with its arguments."""
    lines = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", "")
    return [tuple(line.split(maxsplit=1)) for line in lines.splitlines() if line.strip()]


def the(name):
    """The arguments of the last instruction with a name."""
    return [rest for each, rest in instructions() if each == name][-1]


def context():
    """The files that `.dockerignore` leaves: the last pattern that matches counts."""
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    for path in sorted(each for each in ROOT.rglob("*") if each.is_file()):
        parents = [path, *path.parents][: len(path.relative_to(ROOT).parts)]
        names = [str(each.relative_to(ROOT)) for each in parents]
        kept = True
        for pattern in patterns:
            plain = pattern.removeprefix("!").removeprefix("**/")
            anywhere = names + ([each.name for each in parents] if "**/" in pattern else [])
            if any(fnmatch.fnmatchcase(each, plain) for each in anywhere):
                kept = pattern.startswith("!")
        if kept:
            yield path


def environment():
    """What the instructions ENV set."""
    found = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    for name, rest in instructions():
        if name == "ENV":
            for key, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|(\S*))', rest):
                found[key] = (quoted or plain).replace("$PATH", found["PATH"])
    return found


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A root in which the steps of the Dockerfile have been run."""
    if not shutil.which("debootstrap"):
        pytest.skip("debootstrap is not installed (Debian: apt-get install debootstrap)")
    if not (BARE / "usr" / "bin" / "python3").exists():
        BARE.parent.mkdir(parents=True, exist_ok=True)
        packages = "--include=python3,python3-venv,ca-certificates"
        subprocess.run(["debootstrap", "--variant=minbase", packages, "stable", BARE], check=True, capture_output=True)
    root = tmp_path_factory.mktemp("image") / "root"
    subprocess.run(["cp", "-a", BARE, root], check=True)
    (root / "usr" / "local" / "bin" / "python").symlink_to("/usr/bin/python3")
    # The network as this machine has it, pip's settings included. (Docker gives a container its own /etc/hosts.)
    outside = [
        Path("/etc/hosts"),
        Path("/etc/resolv.conf"),
        Path("/etc/pip.conf"),
        Path("/etc/xdg/pip"),
        Path("/etc/ssl/certs"),
    ]
    for path in filter(Path.exists, outside):
        copied = shutil.copytree if path.is_dir() else shutil.copy
        inside = root / path.relative_to("/")
        if path.is_dir():
            shutil.rmtree(inside, ignore_errors=True)
        copied(path, inside)
    network = {name: os.environ[name] for name in (*NETWORK, "SSL_CERT_FILE", "PIP_CERT") if name in os.environ}
    where = "/"
    for name, rest in instructions():
        if name == "WORKDIR":
            where = rest
            (root / where.lstrip("/")).mkdir(parents=True)
        elif name == "COPY":
            *sources, target = rest.split()
            for path in context():
                relative = path.relative_to(ROOT)
                if sources == ["."] or str(relative) in sources:
                    to = root / where.lstrip("/") / (relative if sources == ["."] else f"{target}/{relative.name}")
                    to.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, to)
        elif name == "RUN":
            command = ["chroot", root, "/bin/sh", "-c", f"cd {where} && {rest}"]
            done = subprocess.run(command, env=environment() | network, capture_output=True, text=True, check=False)
            assert done.returncode == 0, rest + done.stdout + done.stderr
    return root


def inside(image, command, settings, sessions):
    """A command as the image's user: without a capability, and with a read-only root, but for /tmp and /sessions."""
    uid, gid = the("USER").split(":")
    mounts = (
        f"mount --bind {image} {image} && mount -o remount,bind,ro {image} && mount -t tmpfs tmpfs {image}/tmp && "
        f"mount -t proc proc {image}/proc && mount --bind {sessions} {image}/sessions && "
        f'exec setpriv --no-new-privs chroot --userspec={uid}:{gid} {image} env -i -C {the("WORKDIR")} "$@"'
    )
    variables = [f"{name}={value}" for name, value in (environment() | settings).items()]
    return ["unshare", "--mount", "sh", "-c", mounts, "sh", *variables, *command]


def test_the_image_holds_the_app_and_nothing_of_the_folder_that_is_secret_or_not_needed(image):
    names = {path.name for path in (image / "app").iterdir()}
    assert {"app.py", "app_config.py", "gunicorn.conf.py", "flask_entra", "templates", "static"} <= names
    assert not names & {".env", ".env.sample", ".git", ".venv", "tests", "sandbox", "flask_session", "certificates"}
    for pattern in ("*.pem", "*.pfx", "*.key", ".env", "*.po"):
        assert not list((image / "app").rglob(pattern)), pattern
    assert list((image / "app" / "flask_entra").rglob("*.pyc"))


def test_a_person_signs_in_to_the_image_with_a_read_only_root(image, box, tmp_path):
    port, sessions, log = free_port(), tmp_path / "sessions", tmp_path / "log.txt"
    sessions.mkdir(mode=0o700)
    os.chown(sessions, *map(int, the("USER").split(":")))
    settings = box.settings | {"PORT": str(port), "REDIRECT_URI": f"http://localhost:{port}/getAToken"}
    shutil.copy(settings["REQUESTS_CA_BUNDLE"], image / "sandbox.pem")
    settings["REQUESTS_CA_BUNDLE"] = "/sandbox.pem"
    box.redirect_uris.add(settings["REDIRECT_URI"])
    health = inside(image, json.loads(the("HEALTHCHECK").partition("CMD ")[2]), {"PORT": str(port)}, sessions)
    assert subprocess.run(health, capture_output=True, check=False).returncode != 0
    command = inside(image, json.loads(the("CMD")), settings, sessions)
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True) as app:
        try:
            until(lambda: subprocess.run(health, capture_output=True, check=False).returncode == 0)
            person = Visitor(f"http://localhost:{port}")
            assert "Retail Manager" in person.sign_in(path="/call_graph").text
            with socket.create_connection(("127.0.0.2", port)):  # at all addresses
                pass
            assert list((sessions / "sealed-sessions").iterdir())
            revoke = inside(
                image, ["flask", "sessions", "revoke", "--user", box.person("adele").oid], settings, sessions
            )
            done = subprocess.run(revoke, capture_output=True, text=True, check=True)
            assert done.stdout == "1 session ended.\n"
            assert not person.signed_in
            status = Path(f"/proc/{app.pid}/status").read_text()
            assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
            assert re.search(r"^Uid:\t10001\t", status, re.MULTILINE)
            app.send_signal(signal.SIGTERM)
            assert app.wait(40) == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(app.pid, signal.SIGKILL)
    assert "Traceback" not in log.read_text()

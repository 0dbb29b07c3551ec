"""Three OpenID providers that nobody here wrote, each as a process of its own over TLS: how they are installed and started,
and how a person gets through their pages.

Each gets an environment of its own, because they want other versions of the app's libraries.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urljoin

import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from installed import node_packages, python_packages
from programs import free_port
from visitor import Page

SCRIPTS = Path(__file__).with_name("providers")
PEOPLE, PASSWORD = {"alice": "Alice Liddell", "bob": "Bob Builder"}, "correct horse battery"


def _python(requirement):
    """The command for scripts that need a Python package, and the folder with it."""
    # The interpreter itself, not that of the tests' environment, with nothing but these packages.
    return [os.path.realpath(sys.executable), "-s"], python_packages(requirement)


def _node():
    """The command for scripts that need what stands in `providers/package-lock.json`, and the folder with that."""
    return ["node"], node_packages(SCRIPTS)


class RealProvider:
    """A provider.

    :cvar script: what starts it; `command` is what with.
    :cvar accept: what its pages want to be sent when the person agrees, beside what stands on them.
    :cvar client_secret: the app's there.
    :cvar cancel: what they want to be sent when the person does not.
    """

    script, accept, cancel, client_secret = "", {}, {}, "a secret/with+odd:characters"

    def __init__(self, folder, authority, app_url):
        (self._command, self._packages), self.folder, self.port = self.command(), folder, free_port()
        self.url, self.app_url = f"https://localhost:{self.port}", app_url
        certificate = folder / "certificate.pem"
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
        self.ca_file = str(folder / "ca.pem")
        authority.cert_pem.write_to_path(self.ca_file)
        self.client = {"client_id": "the-app", "client_secret": self.client_secret}
        (folder / "settings.json").write_text(
            json.dumps(
                {
                    "folder": str(folder),
                    "packages": str(self._packages),
                    "url": self.url,
                    "port": self.port,
                    "key": str(folder / "key.pem"),
                    "certificate": str(certificate),
                    "redirect_uri": f"{app_url}/getAToken",
                    "home": f"{app_url}/",
                    "back_channel": f"{app_url}/logout/back-channel",
                    "people": PEOPLE,
                    "password": PASSWORD,
                    **self.client,
                }
            )
        )
        self._log = folder / "log.txt"
        self.process = None
        self.start_with_a_new_key()

    def start_with_a_new_key(self):
        """Start it, anew if it runs, with another key than before."""
        self.stop()
        key = rsa.generate_private_key(65537, 2048)
        pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (self.folder / "key.pem").write_bytes(key.private_bytes(*pem))
        command = [*self._command, SCRIPTS / self.script, self.folder / "settings.json"]
        with self._log.open("a") as log:
            environment = {**os.environ, "PYTHONPATH": str(self._packages)}
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, env=environment)
        for _ in range(300):
            try:
                requests.get(f"{self.url}/.well-known/openid-configuration", verify=self.ca_file, timeout=9)
                return
            except requests.ConnectionError:
                assert self.process.poll() is None, self._log.read_text()
                time.sleep(0.1)
        raise AssertionError(self._log.read_text())

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(20)

    def go_on(self, person, response, who="alice", cancel=False):
        """Fill in what the provider's pages ask for, until the app answers; the app's answer."""
        for _ in range(9):
            if response.url.startswith(self.app_url):
                return response
            form = next((form for form in Page(response.text).forms if set(form[1]) & self.asked_for), None)
            assert form, f"{response.status_code} {response.url}: {Page(response.text).text}"
            response = self.fill_in(person, response, *form[:2], who, cancel)
        raise AssertionError(f"{response.url}: {Page(response.text).text}")

    asked_for = frozenset({"login", "username", "password", "prompt", "xsrf", "csrf_token", "csrfmiddlewaretoken"})

    def fill_in(self, person, response, action, fields, who, cancel):
        known = {"login": who, "username": who, "password": PASSWORD}
        asks_who = set(fields) & set(known)
        answer = {} if asks_who else self.cancel if cancel else self.accept
        data = {**fields, **{name: known[name] for name in asks_who}, **answer}
        return person.post(urljoin(response.url, action), data=data, headers={"Referer": response.url}, timeout=30)


class OidcProvider(RealProvider):
    """npm: oidc-provider. Its pages are those that it brings for development."""

    script, accept = "oidc_provider.mjs", {"logout": "yes"}
    command = staticmethod(_node)

    def fill_in(self, person, response, action, fields, who, cancel):
        if cancel and fields.get("prompt") == "consent":
            return person.get(f"{response.url}/abort")
        return super().fill_in(person, response, action, fields, who, cancel)


class Canaille(RealProvider):
    """PyPI: Canaille."""

    script, accept, cancel = "canaille_provider.py", {"answer": "accept"}, {"answer": "deny"}
    client_secret = "a-secret_with.plain~characters"  # it does not decode what RFC 6749 (2.3.1) has form-encoded

    @staticmethod
    def command():
        return _python("canaille[oidc,front,server]==0.3.6")


class DjangoOAuthToolkit(RealProvider):
    """PyPI: Django OAuth Toolkit."""

    script, accept = "django_provider.py", {"allow": "Authorize"}

    @staticmethod
    def command():
        return _python("django-oauth-toolkit==3.4.1")


PROVIDERS = {"oidc-provider": OidcProvider, "Canaille": Canaille, "Django OAuth Toolkit": DjangoOAuthToolkit}

"""Make the README's screenshots from the sandbox: `python tests/screenshots.py [NAME...]`. Needs Chromium, no account."""

import io
import shutil
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from PIL import Image
from playwright.sync_api import sync_playwright

from sandbox import Sandbox
from sandbox.process import PROJECT, REDIRECT_PATH, answers, is_free, relay, start_app, stop_app

DOCS = PROJECT / "docs"
DESK, PHONE = {"width": 860, "height": 640}, {"width": 360, "height": 740}
# file, who is signed in, path, theme, size of the window, language
PICTURES = (
    ("home-light", None, "/", "light", DESK, "en"),
    ("home-dark", None, "/", "dark", DESK, "en"),
    ("signed-in-light", "adele", "/", "light", DESK, "en"),
    ("profile-light", "adele", "/call_graph", "light", DESK, "en"),
    ("profile-dark", "adele", "/call_graph", "dark", DESK, "en"),
    ("problem-light", "lynne", "/call_graph", "light", DESK, "en"),
    ("phone-light", None, "/", "light", PHONE, "fr"),
    ("phone-dark", "adele", "/call_graph", "dark", PHONE, "fr"),
)
COLOURS = 256  # in each picture: a small file


def main() -> None:
    """Start the sandbox, the app and the browser, and take every picture."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
    port = next(port for port in range(5000, 5100) if is_free(port))
    DOCS.mkdir(exist_ok=True)
    with Sandbox(redirect_uris=(f"http://localhost:{port}{REDIRECT_PATH}",)) as box, sync_playwright() as playwright:
        app = start_app(box.settings, box.folder, port, "", debug=False)
        threading.Thread(target=relay, args=(app.stdout, False), daemon=True).start()
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--disable-lcd-text"], chromium_sandbox=False
        )
        try:
            while not answers(port):
                time.sleep(0.1)
            take(browser, f"http://localhost:{port}", sys.argv[1:])
        finally:
            browser.close()
            stop_app(app)


def take(browser, url: str, only: list[str]) -> None:
    """Take the pictures.

    :param browser: Playwright's.
    :param url: the app's address.
    :param only: names of the pictures to take; empty for all.
    """
    for name, person, path, theme, size, language in PICTURES:
        if only and name not in only:
            continue
        context = browser.new_context(
            viewport=size, color_scheme=theme, locale={"en": "en-GB", "fr": "fr-FR"}[language], reduced_motion="reduce"
        )
        page = context.new_page()
        if person:
            page.goto(f"{url}/login")
            page.locator(f"button[value={person}]").click()
            accept = page.locator("button[value=accept]")
            if accept.count():
                accept.click()
            page.wait_for_url(f"{url}/")
        page.goto(url + path)
        file = DOCS / f"{name}.png"
        picture = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
        picture.quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
        print(file.relative_to(PROJECT), f"{file.stat().st_size / 1024:.0f} KB")
        context.close()


if __name__ == "__main__":
    main()

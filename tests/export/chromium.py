"""A real browser for the tests of pages: the Chromium on the PATH, without a window, driven by Playwright.

python -m tests.export.chromium      says whether there is one, and how to get it
"""

import contextlib
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATH = next(filter(None, map(shutil.which, NAMES)), None)
MISSING = f"none of {', '.join(NAMES)} is on the PATH; on Debian and Ubuntu `apt-get install chromium` installs one"
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage"]  # containers have no sandbox and little shared memory
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}


@contextlib.contextmanager
def launch():
    """A browser; it is closed when the block ends."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PATH, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


if __name__ == "__main__":
    print(f"== Pages are tested in {PATH}" if PATH else f"== Pages are not tested in a browser: {MISSING}")

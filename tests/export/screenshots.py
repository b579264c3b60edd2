"""The pictures of the page in the documentation:  python -m tests.export.screenshots BUNDLE [FOLDER]

BUNDLE is what `make quickstart` leaves in serving/; FOLDER is docs/images unless another is given.
"""

import argparse
import tempfile
from pathlib import Path

from PIL import Image

from keras_vit.export import client
from tests.export import chromium
from tests.export.running import start_ours

DESKTOP = {"viewport": {"width": 1200, "height": 940}}  # as high as the page
PHONE = {**chromium.PHONE, "viewport": {"width": 390, "height": 1310}, "device_scale_factor": 1}


def take(page, url, picture, path):
    """Show the picture to the model, look where it looked, and store the page as a picture."""
    page.goto(url)
    page.set_input_files("#file", picture)
    page.wait_for_selector("#scores li")
    page.click("#look")
    page.wait_for_selector("#map:not([hidden])")
    page.screenshot(path=path, animations="disabled")
    Image.open(path).convert("RGB").save(path, optimize=True)


def main(bundle, folder):
    folder.mkdir(parents=True, exist_ok=True)
    [model] = [path.name for path in (bundle / "models").iterdir() if path.is_dir()]
    picture = min((bundle / "examples" / model).glob("*/*.png"))
    with tempfile.NamedTemporaryFile("w") as log:
        running = start_ours(bundle, log, model)
        try:
            client.Server(running.url, 60).predict(model, [picture.read_bytes()])  # the first one is slow
            with chromium.launch() as browser:
                take(browser.new_page(**DESKTOP), running.url, picture, folder / "serve.png")
                phone = browser.new_page(**PHONE, color_scheme="dark")
                take(phone, running.url, picture, folder / "serve_phone.png")
        finally:
            running.process.terminate()
            running.process.wait(30)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs/images"))
    arguments = parser.parse_args()
    main(arguments.bundle, arguments.folder)

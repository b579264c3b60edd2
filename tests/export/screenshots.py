"""The screenshots of the page in the documentation:  python -m tests.export.screenshots BUNDLE [FOLDER]

BUNDLE is what `make quickstart` leaves in serving/; FOLDER is docs/images unless another is given. With --images it is
one of its embedding, with the vectors of its test images, which lie in that folder:

    keras-vit embed runs/digits runs/digits/held_out --output digits.npz
    keras-vit export runs/digits --no-top --index digits.npz --output features
    python -m tests.export.screenshots --images runs/digits/held_out features
"""

import argparse
import tempfile
from pathlib import Path

from PIL import Image

from keras_vit.export.serving import client
from tests.export import chromium
from tests.export.running import start_ours, start_with_images

DESKTOP = {"viewport": {"width": 1200, "height": 940}}  # as high as the page
PHONE = {**chromium.PHONE, "viewport": {"width": 390, "height": 1310}, "device_scale_factor": 1}


def take(page, url, image, path):
    """Classify the image, show the map of the first label, and store a screenshot."""
    page.goto(url)
    page.set_input_files("#file", image)
    page.wait_for_selector("#scores li")
    page.click("#look")
    page.wait_for_selector("#map:not([hidden])")
    page.screenshot(path=path, animations="disabled")
    Image.open(path).convert("RGB").save(path, optimize=True)


def main(bundle, folder, images=None):
    folder.mkdir(parents=True, exist_ok=True)
    [model] = [path.name for path in (bundle / "models").iterdir() if path.is_dir()]
    image = min((bundle / "examples" / model).glob("*/*.png"))
    with tempfile.NamedTemporaryFile("w") as log:
        running = start_with_images(bundle, log, images, model) if images else start_ours(bundle, log, model)
        name = "serve_features" if images else "serve"
        try:
            client.Server(running.url, 60).predict(model, [image.read_bytes()])  # the first one is slow
            with chromium.launch() as browser:
                take(browser.new_page(**DESKTOP), running.url, image, folder / f"{name}.png")
                phone = browser.new_page(**PHONE, color_scheme="dark")
                take(phone, running.url, image, folder / f"{name}_phone.png")
        finally:
            running.process.terminate()
            running.process.wait(30)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs/images"))
    parser.add_argument("--images", type=Path, help="the folder of the stored images, of a bundle of features")
    arguments = parser.parse_args()
    main(arguments.bundle, arguments.folder, arguments.images)

"""The page in a real browser, with a real server behind it."""

import io
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.export import chromium
from tests.export.running import start_with_images

pytestmark = pytest.mark.skipif(chromium.PATH is None, reason=chromium.MISSING)
TEXT = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no image"}
CUT = {"name": "cut.png", "mimeType": "image/png"}
WAIT = 30_000  # milliseconds, for what is loaded or computed


@pytest.fixture(scope="module")
def browser():
    with chromium.launch() as browser:
        yield browser


@pytest.fixture
def page(browser, running):
    """The open page; errors in the browser and requests to other servers fail the test."""
    context = browser.new_context()
    page, problems = context.new_page(), []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if "Policy" in message.text else None)
    page.on("request", lambda request: request.url.startswith((running.url, "blob:")) or problems.append(request.url))
    page.goto(running.url)
    expect(page.locator("#model")).to_be_enabled()
    yield page
    context.close()
    assert problems == []


@pytest.fixture(scope="module")
def image(exported):
    return exported[0] / "examples/toys/1/00.png"


def labels(page):
    expect(page.locator("#scores li")).to_have_count(3, timeout=WAIT)
    return page.locator("#scores .label").all_inner_texts()


def error(page):
    expect(page.locator("#error")).not_to_be_empty()
    return page.inner_text("#error")


def test_the_labels_of_a_chosen_image_are_shown(page, running, image):
    page.set_input_files("#file", image)
    shown = labels(page)
    stored = running.bundle.joinpath("expected/toys/1.json").read_text(encoding="utf-8")
    assert len(shown) == 3 and all(f'"{label}"' in stored for label in shown)
    scores = [float(text.rstrip("\xa0%").lstrip("< ")) for text in page.locator("#scores .score").all_inner_texts()]
    widths = page.locator(".bar i").evaluate_all("bars => bars.map(bar => parseFloat(bar.style.width))")
    assert scores == sorted(scores, reverse=True) and widths == pytest.approx(scores, abs=0.11)
    assert page.inner_text("#status").startswith(f"“{shown[0]}”") and "00.png" in page.inner_text("#caption")
    assert page.inner_text("#call").endswith("/v1/models/toys/versions/1:predict")


def test_the_map_of_a_label_is_drawn_and_removed(page, image):
    page.set_input_files("#file", image)
    first, second, _ = labels(page)
    page.click("#look")
    page.wait_for_selector("#map:not([hidden])")
    colours = page.evaluate("""() => { const map = document.getElementById("map");
                   const data = map.getContext("2d").getImageData(0, 0, map.width, map.height).data;
                   return new Set(new Uint32Array(data.buffer)).size; }""")
    assert colours > 10 and not page.is_visible("#preview")
    assert f"“{first}”" in page.inner_text("#meaning") and "24 × 16 pixels" in page.inner_text("#caption")
    assert page.get_attribute("#map", "aria-label") == page.text_content("#meaning")
    page.click("#scores li:nth-child(2) button")
    assert f"“{second}”" in page.inner_text("#meaning")
    assert page.locator("#scores [aria-pressed=true]").all_inner_texts()[0].startswith(second)
    page.click("#look")
    assert not page.is_visible("#map") and not page.is_visible("#legend") and page.is_visible("#preview")


def test_the_page_can_be_used_with_the_keyboard(page, image):
    def tab_to(selector):
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"{selector} is not reached")

    page.on("filechooser", lambda chooser: None)  # the driver intercepts it from now on, which the key must not precede
    tab_to("#model")
    tab_to("#file")
    outline = page.evaluate("getComputedStyle(document.querySelector('label.button')).outlineStyle")
    assert outline == "solid"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(image)
    labels(page)
    tab_to("#scores li:nth-child(2) button")
    page.keyboard.press("Enter")
    page.wait_for_selector("#map:not([hidden])")
    tab_to("#look")
    page.keyboard.press("Space")
    assert not page.is_visible("#map")


def test_errors_for_a_text_file_and_a_damaged_image(page, image):
    page.set_input_files("#file", image)
    labels(page)
    page.set_input_files("#file", TEXT)
    assert error(page) == "“notes.txt” is not an image that the browser can read; use JPEG or PNG."
    assert not page.is_visible("#shown") and not page.is_visible("#scores") and not page.is_visible("#inside")
    page.set_input_files("#file", CUT | {"buffer": image.read_bytes()[:60]})
    assert error(page) == "The server cannot decode “cut.png”; the file may be damaged."
    page.set_input_files("#file", image)
    assert len(labels(page)) == 3 and not page.is_visible("#error")


def test_images_can_be_dropped_and_pasted(page, image):
    event = """([kind, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], kind + ".png", { type: "image/png" }));
        const init = { bubbles: true, cancelable: true };
        document.body.dispatchEvent(kind === "drop" ? new DragEvent(kind, { ...init, dataTransfer: data })
                                                    : new ClipboardEvent(kind, { ...init, clipboardData: data }));
    }"""
    for kind in ("drop", "paste"):
        page.evaluate(event, [kind, list(image.read_bytes())])
        expect(page.locator("#caption")).to_contain_text(f"{kind}.png")
        assert len(labels(page)) == 3


def test_the_browser_converts_images_that_the_server_would_refuse(page):
    """For their size, or since it does not decode their format."""

    def limit(number, versions):
        served = {"models": [{"model": "toys", "versions": versions}], "max_request_bytes": number}
        page.route("**/page/models", lambda route: route.fulfill(json=served))
        expect(page.locator("#model option")).to_have_count(len(versions))

    limit(60_000, [1, 0])
    for kind, side in (("png", 1500), ("webp", 40)):
        buffer = io.BytesIO()
        Image.effect_noise((side, side // 2), 60).save(buffer, kind)
        with page.expect_request("**:predict") as sent:
            page.set_input_files("#file", {"name": kind, "mimeType": f"image/{kind}", "buffer": buffer.getvalue()})
        assert len(sent.value.post_data) < 60_000
        assert len(labels(page)) == 3 and ("sent as 256 × 128" in page.inner_text("#caption")) == (kind == "png")
    limit(1100, [1])
    page.set_input_files("#file", {"name": kind, "mimeType": "image/webp", "buffer": buffer.getvalue()})
    assert "is too large for this server" in error(page)


def test_versions_come_and_go_while_the_page_is_open(page, running, image):
    page.set_input_files("#file", image)
    labels(page)
    models = running.bundle / "models/toys"
    config = running.bundle / "models.config"
    before = config.read_text()
    config.write_text(
        'model_config_list { config { name: "toys" base_path: "/models/toys" model_version_policy { all {} } } }'
    )
    shutil.copytree(models / "1", models / ".2.tmp")
    os.rename(models / ".2.tmp", models / "2")
    try:
        expect(page.locator("#model option")).to_have_count(2, timeout=WAIT)
        assert page.inner_text("#news") == "Version 2 of toys is now served."
        assert page.locator("#model option:checked").inner_text() == "toys, version 1"
        page.select_option("#model", label="toys, version 2")
        expect(page.locator("#status")).to_contain_text("version 2 of toys after", timeout=WAIT)
        page.click("#look")
        page.wait_for_selector("#map:not([hidden])")
    finally:
        shutil.rmtree(models / "2")
        config.write_text(before)
    expect(page.locator("#status")).to_contain_text("version 1 of toys after", timeout=WAIT)
    assert page.inner_text("#news") == "Version 2 of toys is no longer served." and not page.is_visible("#map")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_need_not_scroll_sideways_and_text_has_contrast(browser, running, image, scheme):
    page = browser.new_page(**chromium.PHONE, color_scheme=scheme)
    page.goto(running.url)
    page.set_input_files("#file", image)
    labels(page)
    page.tap("#look")
    page.wait_for_selector("#map:not([hidden])")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    small = page.locator("button:visible, select, label.button").evaluate_all("all => all.map(one => one.offsetHeight)")
    assert min(small) >= 44
    pairs = page.evaluate(
        """selectors => selectors.map((selector) => {
            let place = document.querySelector(selector);
            const colour = getComputedStyle(place).color;
            while (getComputedStyle(place).backgroundColor === "rgba(0, 0, 0, 0)") place = place.parentElement;
            return [selector, colour, getComputedStyle(place).backgroundColor];
        })""",
        ["#status", "#meaning", ".label", ".score", "#caption", "#look", "h1", "#call", "#model"],
    )
    assert [pair for pair in pairs if contrast(*pair[1:]) < 4.5] == []
    page.close()


@pytest.mark.slow
def test_the_nearest_stored_images_and_what_is_shared(browser, exported_features, toy_features, toy_run, tmp_path):
    with open(tmp_path / "log", "w") as log:
        running = start_with_images(exported_features[0], log, toy_run / "held_out", "toys")
        try:
            page = browser.new_page(**chromium.PHONE)
            page.goto(running.url)
            page.set_input_files("#file", toy_features.files[4])
            expect(page.locator("#scores li")).to_have_count(5, timeout=WAIT)
            assert page.inner_text("#heading") == "Nearest stored images"
            assert page.locator("#scores .label").first.inner_text() == "04.png"
            assert page.locator("#scores .score").first.inner_text() == "1.000"
            assert page.inner_text("#features dt") == "embedding (64)"
            page.wait_for_function("[...document.querySelectorAll('#scores img')].every((one) => one.naturalWidth > 0)")
            assert page.locator("#scores img").count() == 5
            page.tap("#scores li:nth-child(3) button")
            page.wait_for_selector("#map:not([hidden])")
            second = page.locator("#scores .label").nth(2).inner_text()
            assert page.inner_text("#legend > p:first-child").endswith(f"the cosine with “{second}”")
            assert second in page.inner_text("#meaning") and "%" not in page.inner_text("#meaning")
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            page.set_input_files("#file", CUT | {"buffer": Path(toy_features.files[4]).read_bytes()[:60]})
            expect(page.locator("#error")).not_to_be_empty()
            assert not page.is_visible("#features") and not page.is_visible("#scores")
            page.close()
        finally:
            running.process.terminate()
            running.process.wait(30)


def contrast(*colours):
    """The contrast ratio of two CSS colours (WCAG 2.2, "contrast ratio")."""

    def luminance(colour):
        parts = [float(part) / 255 for part in colour.strip("rgb()").split(",")]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear))

    dark, light = sorted(map(luminance, colours))
    return (light + 0.05) / (dark + 0.05)

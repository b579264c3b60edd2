"""The page of `keras-vit convert --format web` in a real browser, as a visitor uses it (`make test-web`)."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from keras_vit.export.model.source import open_source
from keras_vit.export.web import bundle, runtime
from keras_vit.prediction.predictor import Predictor
from tests.export import chromium
from tests.export.test_page_in_chromium import contrast
from tests.export.web_visitor import ISOLATED, WAIT, Visitor, serving

PACKAGE = Path(__file__).parents[2] / "build" / "litert_js"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.PATH is None, reason=chromium.MISSING),
    pytest.mark.skipif(not (PACKAGE / "node_modules").is_dir(), reason="`make test-web` installs LiteRT.js"),
]
SOFTWARE_GPU = (
    *("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"),
    *("--use-vulkan=swiftshader", "--disable-vulkan-surface"),
)
PASTE = """(bytes) => {
    const data = new DataTransfer();
    if (bytes.length) data.items.add(new File([new Uint8Array(bytes)], "pasted.png", { type: "image/png" }));
    document.body.dispatchEvent(new ClipboardEvent("paste", { bubbles: true, clipboardData: data }));
}"""


@pytest.fixture(scope="module")
def browser():
    with chromium.launch() as browser:
        yield browser


@pytest.fixture(scope="module")
def folder(toy_source, expected, tmp_path_factory):
    folder = tmp_path_factory.mktemp("web") / "a path" / "page"
    bundle.convert(toy_source, folder, "none", PACKAGE, expected)
    return folder


@pytest.fixture(scope="module")
def url(folder):
    """The page below a path of its server."""
    with serving(folder.parents[1]) as url:
        yield f"{url}a%20path/page/"


@pytest.fixture
def visitor(browser, url):
    """A visitor; errors in the browser and requests to other servers fail the test."""
    visitor = Visitor(browser, url)
    visitor.open()
    yield visitor
    visitor.close()
    assert visitor.problems == []
    assert [one for one in visitor.requests if not one.startswith((url, "blob:", "data:"))] == []


@pytest.fixture(scope="module")
def image(toy_run):
    return (toy_run / "held_out/00.png").read_bytes()


def scores(folder, content, tmp_path):
    """Of the .tflite file in Python."""
    path = tmp_path / "image"
    path.write_bytes(content)
    [file] = folder.glob("*.tflite")
    return Predictor.open(file).predict([path])[0]


def test_the_best_labels_are_listed_with_bars(visitor, folder, image, tmp_path):
    answer = visitor.drop("00.png", image)
    expected = scores(folder, image, tmp_path)
    np.testing.assert_allclose(answer["scores"], expected, atol=1e-3)
    page, best = visitor.page, np.argsort(-expected)[:5]
    assert answer["labels"] == [open_labels(folder)[k] for k in best]
    shown = [
        float(text.rstrip("\xa0%").lstrip("< ")) / 100 for text in page.locator("#scores .score").all_inner_texts()
    ]
    widths = page.locator(".bar i").evaluate_all("bars => bars.map((bar) => parseFloat(bar.style.width) / 100)")
    np.testing.assert_allclose(shown, expected[best], atol=1e-3)
    np.testing.assert_allclose(widths, expected[best], atol=1e-3)
    assert re.match(r"“.+”, [\d.]+\s%, after \d+ ms\.", page.inner_text("#status"))
    assert "00.png" in page.inner_text("#caption") and "pixels" in page.inner_text("#caption")


def open_labels(folder):
    return (folder / "labels.txt").read_text(encoding="utf-8").splitlines()


def test_what_is_no_image_is_said_and_the_page_goes_on(visitor, image):
    visitor.drop("00.png", image)
    assert visitor.drop("notes.txt", b"no image", "text/plain") == (
        "“notes.txt” is not an image that this browser can read. Use JPEG, PNG or WebP."
    )
    assert not visitor.page.is_visible("#shown") and visitor.page.locator("#scores li").count() == 0
    assert "“cut.png” is not an image" in visitor.drop("cut.png", image[:60])
    assert len(visitor.drop("00.png", image)["labels"]) == 5


def test_too_large_an_image_is_refused_with_the_limit(visitor, tmp_path):
    Image.new("1", (10_000, 9_000)).save(tmp_path / "large.png")
    said = visitor.drop("large.png", (tmp_path / "large.png").read_bytes())
    assert said == "“large.png” has 10000 × 9000 pixels; at most 89 million are read. Save it smaller."


def test_a_large_image_is_read_strip_by_strip(visitor, folder, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 45, 3), np.uint8)
    Image.fromarray(pixels).resize((2500, 3100), Image.Resampling.BICUBIC).save(tmp_path / "large.jpg")
    content = (tmp_path / "large.jpg").read_bytes()
    np.testing.assert_allclose(
        visitor.drop("large.jpg", content)["scores"], scores(folder, content, tmp_path), atol=1e-3
    )


@pytest.fixture
def transparent(tmp_path):
    """A function from a width to a PNG that is nearly or fully transparent, with colours underneath."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 4), np.uint8)
    pixels[..., 3] = pixels[..., 3] % 2

    def write(width):
        Image.fromarray(pixels).resize((width, 3), Image.Resampling.NEAREST).save(tmp_path / "transparent.png")
        return (tmp_path / "transparent.png").read_bytes()

    return write


def test_transparent_images_of_any_width_have_their_colours(visitor, folder, transparent, tmp_path):
    for width in (40, 5000, 40, 40_000):
        content = transparent(width)
        answer = visitor.drop("transparent.png", content)
        np.testing.assert_allclose(answer["scores"], scores(folder, content, tmp_path), atol=1e-3)


def test_without_webgl_they_are_refused_and_others_are_not(browser, url, image, transparent):
    visitor = Visitor(browser, url)
    visitor.page.add_init_script(
        "const get = HTMLCanvasElement.prototype.getContext; HTMLCanvasElement.prototype.getContext = "
        "function (kind, ...rest) { return kind === 'webgl2' ? null : get.call(this, kind, ...rest); };"
    )
    visitor.open()
    said = "“a.png” has transparent parts, which this browser cannot read exactly. Save it without transparency."
    assert visitor.drop("a.png", transparent(40)) == said
    assert len(visitor.drop("00.png", image)["labels"]) == 5
    visitor.close()


def test_images_can_be_pasted(visitor, image):
    visitor.page.evaluate(PASTE, list(image))
    expect(visitor.page.locator("#scores li")).to_have_count(5)
    assert "pasted.png" in visitor.page.inner_text("#caption")
    visitor.page.evaluate(PASTE, [])
    expect(visitor.page.locator("#error")).to_contain_text("There was no image file in that")


def test_the_page_can_be_used_with_the_keyboard(visitor, toy_run):
    page = visitor.page
    page.on("filechooser", lambda chooser: None)  # the driver intercepts it from now on, which the key must not precede
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    assert page.evaluate("getComputedStyle(document.querySelector('label.button')).outlineStyle") == "solid"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(toy_run / "held_out/00.png")
    expect(page.locator("#scores li")).to_have_count(5)


def test_an_image_that_is_dropped_while_the_model_loads_is_classified(browser, url, image):
    visitor = Visitor(browser, url)
    visitor.page.route("**/*.tflite", lambda route: (visitor.page.wait_for_timeout(1000), route.continue_()))
    visitor.page.goto(url)
    expect(visitor.page.locator("#status")).to_have_text("The model and its runtime are loading.")
    assert len(visitor.drop("00.png", image)["labels"]) == 5 and not visitor.page.is_visible("#progress")
    visitor.close()


@pytest.mark.parametrize(
    "lost, said",
    [
        ("*.tflite", r"toys_16x24_fp32\.tflite cannot be loaded \(404\)\."),
        ("labels.txt", r"labels\.txt cannot be loaded \(404\)\."),
        ("litert/core.js", r"The runtime LiteRT\.js cannot be loaded from this server \(.+\)"),
        ("litert/wasm/*", r"The runtime LiteRT\.js cannot be loaded from this server \(.+\)"),
    ],
)
def test_what_cannot_be_loaded_is_named(browser, folder, tmp_path, lost, said):
    page = shutil.copytree(folder, tmp_path / "page")
    for path in page.glob(lost):
        path.unlink()
    with serving(page) as url:
        visitor = Visitor(browser, url)
        visitor.page.goto(url)
        expect(visitor.page.locator("#error")).to_have_text(re.compile(f"^{said}$"))
        assert visitor.page.inner_text("#status") == "" and not visitor.page.is_visible("#progress")
        visitor.close()


def test_a_page_opened_as_a_file_says_so(browser, folder):
    visitor = Visitor(browser, (folder / "index.html").as_uri())
    visitor.page.goto((folder / "index.html").as_uri())
    assert "opened as a file" in visitor.page.inner_text("#status")
    visitor.close()


def test_threads_are_used_where_the_server_allows_them(browser, folder, image, tmp_path):
    with serving(folder, ISOLATED) as url:
        visitor = Visitor(browser, url)
        visitor.open()
        answer = visitor.drop("00.png", image)
        np.testing.assert_allclose(answer["scores"], scores(folder, image, tmp_path), atol=1e-3)
        assert any("litert_wasm_threaded_internal.wasm" in one for one in visitor.requests)
        visitor.close()
        assert visitor.problems == []


def test_a_page_without_its_runtime_loads_it_from_the_cdn(browser, toy_source, expected, image, tmp_path):
    """The CDN is played by the package's files: its answers are those of npm, with the header that lets pages load."""
    bundle.convert(toy_source, tmp_path / "page", "none", expected=expected)

    def answer(route):
        name, version, path = re.fullmatch(
            rf"{re.escape(runtime.CDN)}([\w-]+)@([\d.]+)/(.+)", route.request.url
        ).groups()
        assert version == runtime.VERSION
        file = PACKAGE / "node_modules/@litertjs" / name / path
        route.fulfill(path=file, headers={"Access-Control-Allow-Origin": "*"})

    with serving(tmp_path / "page") as url:
        visitor = Visitor(browser, url)
        visitor.page.route(f"{runtime.CDN}**", answer)
        visitor.open()
        assert len(visitor.drop("00.png", image)["labels"]) == 5
        others = {one.rpartition("/")[2] for one in visitor.requests if not one.startswith((url, "blob:", "data:"))}
        assert others == {"index.js", "litert_wasm_internal.js", "litert_wasm_internal.wasm"}
        visitor.close()
        assert visitor.problems == []
        offline = Visitor(browser, url)
        offline.page.route(f"{runtime.CDN}**", lambda route: route.abort())
        offline.page.goto(url)
        expect(offline.page.locator("#error")).to_contain_text("is there a connection to the internet?")
        offline.close()


def test_several_labels_and_unknown_images(browser, several_run, tmp_path):
    source = open_source(several_run)
    bundle.convert(source, tmp_path / "page", "none", PACKAGE)
    keras = Predictor.open(several_run)
    paths = [path for path, _ in source.images]
    given, known = keras.predict_known([keras.prepare(path) for path in paths])
    seen = set()
    with serving(tmp_path / "page") as url:
        visitor = Visitor(browser, url)
        visitor.open()
        for path, row, score in zip(paths, given, known):
            answer = visitor.drop(path.name, path.read_bytes())
            best = [k for k in np.argsort(-row, kind="stable") if row[k] >= keras.thresholds[k]]
            assert answer["labels"] == [keras.labels[k] for k in best]
            assert answer["unknown"] == bool(keras.is_unknown(score)) and abs(answer["known"] - score) < 1e-3
            words = {0: "None of the labels", 1: "“"}.get(len(best), f"{len(best)} labels")
            assert visitor.page.inner_text("#status").startswith(words)
            seen.add((min(len(best), 2), answer["unknown"]))
        visitor.close()
        assert visitor.problems == []
    assert {count for count, _ in seen} == {0, 1, 2} and {unknown for _, unknown in seen} == {True, False}


def test_a_gpu_is_offered_where_there_is_one(browser, url, folder, image, tmp_path):
    """By Chromium's software renderer, which stands in for one."""
    visitor = Visitor(browser, url)
    visitor.open()
    assert not visitor.page.is_visible("#accelerator")
    visitor.close()
    other = browser.browser_type.launch(executable_path=chromium.PATH, args=[*chromium.ARGUMENTS, *SOFTWARE_GPU])
    visitor = Visitor(other, url)
    visitor.open()
    visitor.drop("00.png", image)
    visitor.page.evaluate("answers.length = 0")
    visitor.page.select_option("#accelerator", "webgpu")
    expect(visitor.page.locator("#status")).to_contain_text(" ms.", timeout=WAIT)
    [answer] = visitor.page.evaluate("answers")
    np.testing.assert_allclose(answer["scores"], scores(folder, image, tmp_path), atol=1e-3)
    assert any("litert_wasm_jspi_internal.wasm" in one for one in visitor.requests)
    visitor.close()
    other.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_need_not_scroll_sideways_and_text_has_contrast(browser, url, image, scheme):
    visitor = Visitor(browser, url, **chromium.PHONE, color_scheme=scheme)
    visitor.open()
    visitor.drop("an_image_with_quite_a_long_name_as_cameras_and_messengers_give_them.png", image)
    page = visitor.page
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    small = page.locator("button:visible, select:visible, label.button").evaluate_all(
        "all => all.map(one => one.offsetHeight)"
    )
    assert min(small) >= 44
    pairs = page.evaluate(
        """selectors => selectors.map((selector) => {
            let place = document.querySelector(selector);
            const colour = getComputedStyle(place).color;
            while (getComputedStyle(place).backgroundColor === "rgba(0, 0, 0, 0)") place = place.parentElement;
            return [selector, colour, getComputedStyle(place).backgroundColor];
        })""",
        ["#status", ".label", ".score", "#caption", "#error", "h1", "label.button", "footer p"],
    )
    assert [pair for pair in pairs if contrast(*pair[1:]) < 4.5] == []
    visitor.close()

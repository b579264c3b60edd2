"""A page of `keras-vit convert --format web` in a real browser: a plain server, a visitor who drops images on it."""

import base64
import contextlib
import functools
import http.server
import threading
import time

from playwright.sync_api import expect

WAIT = 120_000  # milliseconds, for what is loaded or computed
LISTEN = """window.answers = [];
document.addEventListener("classified", ({ detail }) => answers.push({ ...detail, scores: [...detail.scores] }));"""
DROP = """([name, type, text]) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], name, { type }));
    answers.length = 0;
    document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: data }));
}"""
ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Static files, with the server's further headers, and no log."""

    def end_headers(self):
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving(folder, headers=()):
    """The address of a plain server of a folder's files on the loopback."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder)))
    server.headers = dict(headers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


class Visitor:
    """Someone with the page open.

    Args:
        browser: of Playwright.
        url: the page's address.
        options: of the browser's context.
    """

    def __init__(self, browser, url, **options):
        self._context = browser.new_context(**options)
        self.page, self.problems, self.requests = self._context.new_page(), [], []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda message: self._read(message.text))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.add_init_script(LISTEN)
        self._url = url

    def open(self):
        """Open the page and wait for the model; returns the seconds that it takes."""
        begun = time.perf_counter()
        self.page.goto(self._url)
        expect(self.page.locator("#status")).to_contain_text("Ready", timeout=WAIT)
        return time.perf_counter() - begun

    def drop(self, name, content, type=""):
        """Drop a file; returns what the page says: the answer's {scores, known, milliseconds, labels}, or its error."""
        self.page.evaluate(DROP, [name, type, base64.b64encode(content).decode()])
        done = self.page.locator("#error:not(:empty), #labels:not(.busy) #status:has-text(' ms.')")
        expect(done).to_have_count(1, timeout=WAIT)
        if error := self.page.inner_text("#error"):
            return error
        [answer] = self.page.evaluate("answers")
        labels, unknown = self.page.locator("#scores .label").all_inner_texts(), self.page.is_visible("#unknown")
        return {**answer, "labels": labels, "unknown": unknown}

    def close(self):
        """Close the page."""
        self._context.close()

    def _read(self, text):
        """Keep what the browser says of the page's policy, and of what it could not load."""
        if "Content Security Policy" in text or "Failed to load resource" in text:
            self.problems.append(text)

"""Downloads from a server in this process: complete or absent, verified, and without a request once cached."""

import dataclasses
import hashlib
import http.server
import threading

import pytest

from keras_vit.weights import catalogue, download

CONTENT = bytes(range(256)) * 20
SHA256 = hashlib.sha256(CONTENT).hexdigest()
COMMIT = "c" * 40


@dataclasses.dataclass
class Reply:
    """The server's response for one path."""

    content: bytes = CONTENT
    status: int = 200
    announced: int | None = None
    kind: str = "application/octet-stream"
    etag: str = SHA256


class Handler(http.server.BaseHTTPRequestHandler):
    """Official files under /files, a hub's repositories under /<owner>/<name>/resolve/main."""

    def do_HEAD(self):
        self.reply()

    def do_GET(self):
        reply = self.reply()
        self.wfile.write(reply.content)

    def reply(self):
        self.server.requests.append(f"{self.command} {self.path}")
        missing = Reply(b"", 404)
        reply = self.server.replies.get(self.path, missing)
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.kind)
        self.send_header("Content-Length", str(reply.announced or len(reply.content)))
        self.send_header("ETag", f'"{reply.etag}"')
        self.send_header("X-Repo-Commit", COMMIT)
        if reply is missing and "/resolve/" in self.path:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.end_headers()
        return reply

    def log_message(self, *args):
        """Stay quiet."""


@pytest.fixture
def server(monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.replies, server.requests = {}, []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def files_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# ----------------------------------------------------------------------------------- official files


def test_an_official_file_is_downloaded_once(server, tmp_path):
    server.replies["/files/net.pth"] = Reply()
    path = download.fetch_url(f"{server.url}/files/net.pth", cache_dir=tmp_path)
    assert path.read_bytes() == CONTENT and path.name == "net.pth"
    assert files_in(tmp_path) == ["net.pth", "net.pth.sha256"]
    assert (path.parent / "net.pth.sha256").read_text() == f"{SHA256}  net.pth\n"
    server.requests.clear()
    assert download.fetch_url(f"{server.url}/files/net.pth", cache_dir=tmp_path) == path
    assert server.requests == []


def test_the_home_folder_is_named_by_the_environment(server, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_VIT_HOME", str(tmp_path / "home"))
    server.replies["/files/net.pth"] = Reply()
    path = download.fetch_url(f"{server.url}/files/net.pth")
    assert path.is_relative_to(tmp_path / "home" / "weights") and path.read_bytes() == CONTENT


def test_files_of_equal_names_and_different_urls_are_kept_apart(server, tmp_path):
    server.replies |= {"/one/ViT.npz": Reply(b"1"), "/two/ViT.npz": Reply(b"2")}
    one, two = (download.fetch_url(f"{server.url}/{folder}/ViT.npz", cache_dir=tmp_path) for folder in ("one", "two"))
    assert (one.read_bytes(), two.read_bytes()) == (b"1", b"2")


@pytest.mark.parametrize(
    "reply, reason",
    [
        (Reply(announced=len(CONTENT) + 1), "5120 of 5121 bytes"),
        (Reply(status=404), "404"),
        (Reply(status=503), "503"),
        (Reply(b"<html>quota exceeded</html>", kind="text/html"), "a web page"),
    ],
)
def test_a_failed_download_leaves_nothing_and_may_be_repeated(server, tmp_path, reply, reason):
    server.replies["/files/net.pth"] = reply
    url = f"{server.url}/files/net.pth"
    with pytest.raises(ConnectionError, match=f"net.pth could not be downloaded from {url}.*{reason}.*weights=path"):
        download.fetch_url(url, cache_dir=tmp_path)
    assert files_in(tmp_path) == []
    server.replies["/files/net.pth"] = Reply()
    assert download.fetch_url(url, cache_dir=tmp_path).read_bytes() == CONTENT


def test_a_changed_file_in_the_cache_is_noticed(server, tmp_path):
    server.replies["/files/net.pth"] = Reply()
    path = download.fetch_url(f"{server.url}/files/net.pth", cache_dir=tmp_path)
    path.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(ValueError, match=f"net.pth is not the published file.*{SHA256}.*Delete it"):
        download.fetch_url(f"{server.url}/files/net.pth", cache_dir=tmp_path)
    path.unlink()
    assert download.fetch_url(f"{server.url}/files/net.pth", cache_dir=tmp_path).read_bytes() == CONTENT


def test_no_network(server, tmp_path):
    url = f"{server.url}/files/net.pth"
    server.server_close()  # nothing listens on the port now
    with pytest.raises(ConnectionError, match=f"net.pth.*{url}.*weights=path.*HF_HUB_OFFLINE.*HF_ENDPOINT"):
        download.fetch_url(url, cache_dir=tmp_path)


def test_files_for_browsers_only_are_refused(tmp_path):
    with pytest.raises(ValueError, match="drive.google.com.*by hand.*weights="):
        download.fetch_url("https://drive.google.com/file/d/1/view", cache_dir=tmp_path)


# ---------------------------------------------------------------------------------------------- hub

REPOSITORY = "/timm/net.tag/resolve/main"


@pytest.fixture
def hub(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # read at its import
    return server


def test_a_hub_file_is_downloaded_once(hub, tmp_path, monkeypatch):
    hub.replies[f"{REPOSITORY}/model.safetensors"] = Reply()
    path = download.fetch_hub("timm/net.tag", cache_dir=tmp_path)
    assert path.read_bytes() == CONTENT and path.name == "model.safetensors"
    hub.requests.clear()
    assert download.fetch_hub("timm/net.tag", cache_dir=tmp_path) == path
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert download.fetch_hub("timm/net.tag", cache_dir=tmp_path) == path
    assert hub.requests == []


def test_the_second_choice_where_the_first_is_missing(hub, tmp_path):
    hub.replies[f"{REPOSITORY}/pytorch_model.bin"] = Reply()
    assert download.fetch_hub("timm/net.tag", cache_dir=tmp_path).name == "pytorch_model.bin"
    with pytest.raises(FileNotFoundError, match="timm/other has none of model.safetensors, pytorch_model.bin"):
        download.fetch_hub("timm/other", cache_dir=tmp_path)


def test_a_hub_file_of_another_sha256_is_refused(hub, tmp_path):
    hub.replies[f"{REPOSITORY}/model.safetensors"] = Reply(etag="0" * 64)
    with pytest.raises(ValueError, match=f"not the published file.*{'0' * 64}.*{SHA256}"):
        download.fetch_hub("timm/net.tag", cache_dir=tmp_path)
    assert not list(tmp_path.rglob("model.safetensors")) and not list(tmp_path.rglob("0" * 64))
    hub.replies[f"{REPOSITORY}/model.safetensors"] = Reply()
    assert download.fetch_hub("timm/net.tag", cache_dir=tmp_path).read_bytes() == CONTENT


def test_a_changed_hub_file_in_the_cache_is_noticed(hub, tmp_path):
    hub.replies[f"{REPOSITORY}/model.safetensors"] = Reply()
    path = download.fetch_hub("timm/net.tag", cache_dir=tmp_path)
    path.resolve().write_bytes(b"something else")
    with pytest.raises(ValueError, match=f"not the published file.*{SHA256}.*Delete it"):
        download.fetch_hub("timm/net.tag", cache_dir=tmp_path)


def test_small_files_have_another_kind_of_etag(hub, tmp_path):
    hub.replies[f"{REPOSITORY}/model.safetensors"] = Reply(b"small", etag="a" * 40)
    assert download.fetch_hub("timm/net.tag", cache_dir=tmp_path).read_bytes() == b"small"


def test_offline_without_the_file(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConnectionError, match="model.safetensors.*HF_HUB_OFFLINE is set.*weights=path"):
        download.fetch_hub("timm/net.tag", cache_dir=tmp_path)
    assert hub.requests == []


def test_no_hub(hub, tmp_path):
    hub.server_close()
    with pytest.raises(ConnectionError, match=f"model.safetensors.*{hub.url}.*weights=path.*HF_ENDPOINT"):
        download.fetch_hub("timm/net.tag", cache_dir=tmp_path)


def test_a_row_is_downloaded_from_the_hub_or_its_official_url(hub, tmp_path):
    row = dataclasses.replace(
        catalogue.default("SwinT"),
        hub_id="timm/net.tag",
        url=f"{hub.url}/files/net.pth",
        hub_file="pytorch_model.bin",
    )
    hub.replies |= {f"{REPOSITORY}/{name}": Reply() for name in download.HUB_FILES}
    hub.replies["/files/net.pth"] = Reply(b"official")
    assert download.fetch(row, cache_dir=tmp_path).name == "pytorch_model.bin"
    assert download.fetch(row, cache_dir=tmp_path, official=True).read_bytes() == b"official"
    bare = dataclasses.replace(row, hub_id="", hub_file="")
    assert download.fetch(bare, cache_dir=tmp_path).read_bytes() == b"official"
    with pytest.raises(ValueError, match="SwinT.ms_in1k.*official URL"):
        download.fetch(dataclasses.replace(row, url=""), official=True)

"""A hub in this process: the requests of `huggingface_hub` that listing, downloading and pushing a model make.

A repository is {name of a branch or tag: number of its commit}; a commit's number is 40 digits, its content {path:
bytes}. Large files (LARGE) go by LFS, those above PART bytes in parts. `hub.requests` has a line for each request.
"""

import base64
import contextlib
import hashlib
import http.server
import json
import re
import threading
import urllib.parse
from dataclasses import dataclass, field

LARGE = (".keras", ".safetensors", ".bin", ".h5")
PART = 5_000  # bytes
TOKEN = "hf_local"


@dataclass
class Repository:
    """One repository of the hub."""

    commits: dict = field(default_factory=dict)  # 40 digits -> {path: bytes}
    refs: dict = field(default_factory=dict)  # branch or tag -> 40 digits
    messages: list = field(default_factory=list)
    private: bool = False
    gated: bool = False

    def commit(self, branch, content, message="files"):
        """Add a commit to a branch; returns its number."""
        number = hashlib.sha1(f"{len(self.commits)} {sorted(content)} {message}".encode()).hexdigest()
        self.commits[number], self.refs[branch] = dict(content), number
        self.messages.append(message)
        return number


class Hub(http.server.ThreadingHTTPServer):
    """The server; `add` puts a repository there."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repositories, self.requests, self.uploads, self.tampered = {}, [], {}, set()
        self.account = "someone"  # whose token TOKEN is

    def add(self, name, content, **details):
        """A new repository with one commit on its branch main."""
        self.repositories[name] = repository = Repository(**details)
        repository.commit("main", content)
        return repository


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by the first of ROUTES whose pattern is that of the request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self):
        """Find and call the method for this request."""
        path, _, query = self.path.partition("?")
        self.server.requests.append(f"{self.command} {path}")
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self._chunks() if self.headers.get("Transfer-Encoding") == "chunked" else self.rfile.read(length)
        for command, pattern, name in ROUTES:
            if command == self.command and (found := re.fullmatch(pattern, path)):
                return getattr(self, name)(*map(urllib.parse.unquote, found.groups()))
        return self.error(404, "RepoNotFound")

    do_GET = do_HEAD = do_POST = do_PUT = answer

    def _chunks(self):
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def log_message(self, *args):
        """Stay quiet."""

    # ------------------------------------------------------------------------------------ answers

    def send(self, status, content=b"", **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def json(self, value, status=200):
        self.send(status, json.dumps(value).encode(), Content_Type="application/json")

    def error(self, status, code="", message=""):
        self.send(status, json.dumps({"error": message}).encode(), X_Error_Code=code, X_Error_Message=message)

    def may(self, owner):
        """Whether the request's token is that of the owner; answers if it is not."""
        token = self.headers.get("Authorization", "")
        if token == f"Bearer {TOKEN}" and owner == self.server.account:
            return True
        if not token:
            self.error(401, message="Invalid username or password.")
        else:
            self.error(403, message="You don't have the rights to create a model under this namespace")
        return False

    def found(self, name, revision="main"):
        """(repository, number of the commit), or None once an error has been sent."""
        repository = self.server.repositories.get(name)
        hidden = repository and repository.private and self.headers.get("Authorization") != f"Bearer {TOKEN}"
        if repository is None or hidden:
            return self.error(401 if not self.headers.get("Authorization") else 404, "RepoNotFound")
        number = repository.refs.get(revision, revision)
        return (repository, number) if number in repository.commits else self.error(404, "RevisionNotFound")

    # ------------------------------------------------------------------------------------ reading

    def info(self, name, revision="main"):
        if found := self.found(name, revision):
            repository, number = found
            names = [{"rfilename": path} for path in repository.commits[number]]
            facts = {"private": repository.private, "gated": "auto" if repository.gated else False}
            self.json({"id": name, "modelId": name, "sha": number, "siblings": names, "tags": [], **facts})

    def tree(self, name, revision):
        if found := self.found(name, revision):
            repository, number = found
            self.json([_entry(path, content) for path, content in repository.commits[number].items()])

    def resolve(self, name, revision, path):
        if not (found := self.found(name, revision)):
            return
        repository, number = found
        if repository.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.error(401, "GatedRepo")
        content = repository.commits[number].get(path)
        if content is None:
            return self.send(404, X_Error_Code="EntryNotFound", X_Repo_Commit=number)
        headers = {"X_Repo_Commit": number, "ETag": f'"{_etag(path, content)}"'}
        if path in self.server.tampered:
            content = bytes(len(content))
        self.send(200, content, **headers)

    # ------------------------------------------------------------------------------------ writing

    def create(self):
        asked = json.loads(self.body)
        owner = asked.get("organization") or self.server.account
        name = f"{owner}/{asked['name']}"
        if self.may(owner):
            if name in self.server.repositories:
                return self.json({"url": f"{self.server.url}/{name}", "error": "exists"}, 409)
            private = asked.get("private") or asked.get("visibility") == "private"
            self.server.add(name, {".gitattributes": b"*.keras filter=lfs\n"}, private=bool(private))
            self.json({"url": f"{self.server.url}/{name}"})

    def branch(self, name, branch):
        if self.may(name.partition("/")[0]) and (found := self.found(name)):
            repository, number = found
            taken = branch in repository.refs
            repository.refs.setdefault(branch, number)
            self.json({}, 409 if taken else 200)

    def validate(self):
        self.json({"errors": [], "warnings": []})

    def preupload(self, name, revision):
        if self.may(name.partition("/")[0]) and self.found(name, revision):
            files = json.loads(self.body)["files"]
            modes = [(file["path"], "lfs" if file["path"].endswith(LARGE) else "regular") for file in files]
            self.json({"files": [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes]})

    def batch(self, name):
        if self.may(name.partition("/")[0]):
            self.json({"transfer": "basic", "objects": [self._action(one) for one in json.loads(self.body)["objects"]]})

    def _action(self, asked):
        place = f"{self.server.url}/upload/{asked['oid']}"
        upload = {"href": place, "header": {}}
        if asked["size"] > PART:
            parts = range(-(-asked["size"] // PART))
            upload["header"] = {"chunk_size": str(PART), **{str(n + 1): f"{place}/{n + 1}" for n in parts}}
        return {**asked, "actions": {"upload": upload}}

    def put(self, digest, part=""):
        self.server.uploads[digest, part] = self.body
        self.send(200, ETag=f'"{part or 1}"')

    def complete(self, digest):
        parts = [str(part["partNumber"]) for part in json.loads(self.body)["parts"]]
        self.server.uploads[digest, ""] = b"".join(self.server.uploads.pop((digest, part)) for part in parts)
        self.json({})

    def commit(self, name, revision):
        if not self.may(name.partition("/")[0]) or not (found := self.found(name, revision)):
            return None
        repository, number = found
        (_, header), *lines = [(line["key"], line["value"]) for line in map(json.loads, self.body.splitlines())]
        if header.get("parentCommit", number) != number:
            return self.error(412, message="the branch has moved on")
        content = dict(repository.commits[number])
        for key, value in lines:
            self._apply(content, key, value)
        number = repository.commit(revision, content, header["summary"])
        url = f"{self.server.url}/{name}/commit/{number}"
        return self.json({"commitUrl": url, "commitOid": number, "pullRequestUrl": None})

    def _apply(self, content, key, value):
        if key == "file":
            content[value["path"]] = base64.b64decode(value["content"])
        elif key == "lfsFile":
            uploaded = self.server.uploads[value["oid"], ""]
            assert hashlib.sha256(uploaded).hexdigest() == value["oid"] and len(uploaded) == value["size"]
            content[value["path"]] = uploaded
        elif key == "deletedFile":
            del content[value["path"]]
        else:
            raise AssertionError(key)


NAME, ONE = r"([^/]+/[^/]+)", r"([^/]+)"
ROUTES = [
    ("GET", f"/api/models/{NAME}", "info"),
    ("GET", f"/api/models/{NAME}/revision/{ONE}", "info"),
    ("GET", f"/api/models/{NAME}/tree/{ONE}", "tree"),
    ("HEAD", f"/{NAME}/resolve/{ONE}/(.+)", "resolve"),
    ("GET", f"/{NAME}/resolve/{ONE}/(.+)", "resolve"),
    ("POST", "/api/repos/create", "create"),
    ("POST", f"/api/models/{NAME}/branch/{ONE}", "branch"),
    ("POST", "/api/validate-yaml", "validate"),
    ("POST", f"/api/models/{NAME}/preupload/{ONE}", "preupload"),
    ("POST", rf"/{NAME}\.git/info/lfs/objects/batch", "batch"),
    ("PUT", f"/upload/{ONE}", "put"),
    ("PUT", f"/upload/{ONE}/{ONE}", "put"),
    ("POST", f"/upload/{ONE}", "complete"),
    ("POST", f"/api/models/{NAME}/commit/{ONE}", "commit"),
]


def _etag(path, content):
    """As the hub has it: sha256 of large files, git's own sum of others."""
    if path.endswith(LARGE):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _entry(path, content):
    entry = {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
    if path.endswith(LARGE):
        entry["lfs"] = {"oid": _etag(path, content), "size": len(content), "pointerSize": 130}
    return entry


@contextlib.contextmanager
def serving(monkeypatch, cache, token=None):
    """Yield a running `Hub` that `huggingface_hub` takes for the hub, with its cache in a folder of its own."""
    constants = "huggingface_hub.constants."
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setattr(f"{constants}HF_HUB_OFFLINE", False)  # these were read at its import
    monkeypatch.setattr(f"{constants}HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(f"{constants}HF_TOKEN_PATH", str(cache / "token"))
    monkeypatch.setattr(f"{constants}HF_HUB_DISABLE_XET", True)  # storage of another kind, which is not tested here
    hub = Hub()
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setattr(f"{constants}ENDPOINT", hub.url)
    template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    for module in ("constants", "file_download"):  # the second in earlier versions
        monkeypatch.setattr(f"huggingface_hub.{module}.HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()

"""A server in a process of its own, and requests to it."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from keras_vit.export.serving import client
from keras_vit.system import startup
from keras_vit.system.limits import GRACE_SECONDS
from tests.export import serve_alone


@dataclass
class Running:
    """A server and what it serves."""

    url: str
    bundle: Path
    process: subprocess.Popen
    ours: bool = True  # the development server
    grpc: str = ""  # its address for gRPC

    def connect(self):
        return contextlib.closing(http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=60))

    def send(self, path, body=None, method=None):
        with self.connect() as connection:
            return send(connection, path, body, method)

    def memory(self):
        """Bytes of the process that are in memory."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


def send(connection, path, body=None, method=None):
    """(status, JSON) of a request; POST where there is a body."""
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(method or ("GET" if body is None else "POST"), path, content)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


WITH_LIBRARY = """
import sys
from keras_vit.export.devserver.app import serve
serve(sys.argv[1], port=0, poll=0.2, images=sys.argv[2], ready=lambda url, *_: print(url, flush=True))
"""


def start_with_images(bundle, log, images, model):
    """`Running` of the development server, which shows the images of stored vectors that lie in a folder."""
    command = [sys.executable, "-c", WITH_LIBRARY, str(bundle), str(images)]
    environment = {**startup.environment("3"), "CUDA_VISIBLE_DEVICES": "-1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
    url = (process.stdout.readline() or "none").strip()
    process.stdout.close()
    client.Server(url, 60).wait([model], 60)
    return Running(url, bundle, process)


def start_ours(bundle, log, *models, grace=GRACE_SECONDS):
    """`Running` of the development server, which serves the models (default: the toys)."""
    command = [sys.executable, "-P", serve_alone.__file__, str(bundle), str(grace)]
    environment = {**startup.environment("3"), "CUDA_VISIBLE_DEVICES": "-1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
    url, grpc, keras = (process.stdout.readline() or "none none True").split()
    process.stdout.close()
    assert keras == "False", Path(log.name).read_text()[-2000:]
    client.Server(url, 60).wait(models or ["toys"], 60)  # the address is printed before the server listens
    return Running(url, bundle, process, grpc=grpc)

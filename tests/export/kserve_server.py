"""A Triton folder's client against another server of the Open Inference Protocol:

    .venv-kserve/bin/python tests/export/kserve_server.py FOLDER

KServe's own server (its SDK's ModelServer) runs the folder's ONNX file; client.py speaks to it by tritonclient. Imports
nothing of this library (`make test-servers`). Exit status: client.py's.
"""

import multiprocessing
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

PORT = 18_080


def serve(name, file):
    """Serve an ONNX file until the process is ended."""
    import kserve
    import onnxruntime
    from kserve import InferOutput, InferResponse

    class Onnx(kserve.Model):
        """The file, by ONNX Runtime."""

        def load(self):
            self.session = onnxruntime.InferenceSession(file)
            self.ready = True
            return True

        async def get_output_types(self):
            return [
                {"name": one.name, "datatype": "FP32", "shape": [-1, *one.shape[1:]]}
                for one in self.session.get_outputs()
            ]

        async def get_input_types(self):
            return []

        async def predict(self, payload, headers=None, response_headers=None):
            names = [one.name for one in self.session.get_outputs()]
            given = self.session.run(names, {one.name: one.as_numpy() for one in payload.inputs})
            outputs = []
            for one, values in zip(names, given):
                output = InferOutput(one, list(values.shape), "FP32")
                output.set_data_from_numpy(values, binary_data=True)
                outputs.append(output)
            return InferResponse(payload.id or "0", self.name, outputs)

    model = Onnx(name)
    model.load()
    kserve.ModelServer(http_port=PORT, enable_grpc=False, workers=1).start([model])


def main(folder):
    [model] = [path for path in Path(folder, "models").iterdir() if path.is_dir()]
    server = multiprocessing.get_context("spawn").Process(
        target=serve, args=(model.name, str(model / "1/model.onnx")), daemon=True
    )
    server.start()
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{PORT}/v2/models/{model.name}/ready", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.5)
        command = [sys.executable, str(Path(folder, "client.py")), "--url", f"127.0.0.1:{PORT}"]
        print("KServe's server, client.py --check:", flush=True)
        return subprocess.run([*command, "--check"]).returncode
    finally:
        server.terminate()
        server.join(20)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

"""Serves a model by the functions of its script, as SageMaker's framework containers do.

    python script_server.py SCRIPT MODEL_FOLDER

`model_fn(model_dir)` loads the model (required). `input_fn(body, content_type)` makes data of a request, `predict_fn(data, model)`
predictions, `output_fn(predictions, accept)` an answer: a text or bytes, or a pair of it and its content type. `transform_fn(model,
body, content_type, accept)` is taken in place of the three. Without `input_fn`, CSV and JSON become a NumPy array, NaN where a
value is missing; without `predict_fn`, `model.predict(data)` is asked; without `output_fn`, numbers become CSV or JSON.
"""

import importlib.util
import json
import os
import socket
import sys
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MAX_BYTES = 6 * 1024 * 1024


def default_input(body, content_type):
    import numpy

    kind = content_type.split(";")[0].strip()
    number = lambda cell: float(cell) if cell not in ("", None) else float("nan")
    if kind == "text/csv":
        rows = [[number(cell.strip()) for cell in line.split(",")] for line in body.decode().splitlines() if line]
    elif kind == "application/json":
        rows = [instance.get("features") if isinstance(instance, dict) else instance for instance in json.loads(body)["instances"]]
        rows = [[number(cell) for cell in row] for row in rows]
    else:
        raise ValueError(f"content type {content_type!r} is not supported; send text/csv or application/json")
    return numpy.array(rows, dtype=float)


def default_output(predictions, accept):
    numbers = [float(number) for number in predictions]
    if "json" in accept:
        return json.dumps({"predictions": numbers}), "application/json"
    return "".join(f"{number!r}\n" for number in numbers), "text/csv"


def load(script):
    sys.path.insert(0, str(script.parent))
    spec = importlib.util.spec_from_file_location(script.stem, script)
    module = importlib.util.module_from_spec(spec)
    sys.modules[script.stem] = module
    spec.loader.exec_module(module)
    if not hasattr(module, "model_fn"):
        sys.exit(f"{script.name} has no model_fn(model_dir), which loads the model")
    return module


class Server(ThreadingHTTPServer):
    daemon_threads = True


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # One segment per answer: a client that waits for the rest would wait for its own acknowledgement.
    wbufsize = 1 << 16
    transform = None

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def answer(self, status, body, content_type):
        body = body.encode() if isinstance(body, str) else bytes(body)
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200 if self.path == "/ping" else 404, "", "text/plain")

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        if self.path != "/invocations" or length > MAX_BYTES:
            self.close_connection = True
            return self.answer(404 if length <= MAX_BYTES else 413, "", "text/plain")
        content_type = self.headers.get("Content-Type") or "text/csv"
        accept = self.headers.get("Accept") or "text/csv"
        if accept == "*/*":
            accept = "text/csv"
        try:
            answer = type(self).transform(self.rfile.read(length), content_type, accept)
        except Exception as error:  # Whatever the script raises is the caller's to see, as SageMaker passes it on.
            traceback.print_exc()
            where = traceback.extract_tb(error.__traceback__)[-1]
            said = "".join(traceback.format_exception_only(error)).strip()
            return self.answer(500, f"{said} ({Path(where.filename).name}, line {where.lineno})", "text/plain")
        body, kind = answer if isinstance(answer, tuple) else (answer, accept)
        self.answer(200, body, kind)

    def log_message(self, *_):
        pass


def main():
    script, folder = Path(sys.argv[1]), sys.argv[2]
    module = load(script)
    model = module.model_fn(folder)
    if hasattr(module, "transform_fn"):
        transform = lambda body, content_type, accept: module.transform_fn(model, body, content_type, accept)
    else:
        read = getattr(module, "input_fn", default_input)
        predict = getattr(module, "predict_fn", lambda data, model: model.predict(data))
        write = getattr(module, "output_fn", default_output)
        transform = lambda body, content_type, accept: write(predict(read(body, content_type), model), accept)
    Handler.transform = staticmethod(transform)
    port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))
    server = Server(("127.0.0.1", port), Handler)
    print(f"{script.name} serves on port {port}", flush=True)
    server.serve_forever()


main()

"""A stand-in for TensorFlow ModelServer, with the part of gRPC and REST that the clients use.

It runs the real exported model in Python.
"""

import base64
import concurrent.futures
import contextlib
import http.server
import json
import threading

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


class Model:
    """A SavedModel, served under the name of its folder."""

    def __init__(self, version):
        self.name = version.parent.name
        self._loaded = tf.saved_model.load(str(version))

    def run(self, name: str, signature: str, inputs: dict) -> dict:
        if name != self.name or signature not in self._loaded.signatures:
            raise LookupError(f"Servable not found for request: {name}, {signature}")
        return self._loaded.signatures[signature](**inputs)


class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model: Model):
        self._model = model

    def Predict(self, request, context):
        inputs = {k: tf.constant(tf.make_ndarray(v)) for k, v in request.inputs.items()}
        spec = request.model_spec
        try:
            outputs = self._model.run(spec.name, spec.signature_name, inputs)
        except LookupError as error:
            context.abort(grpc.StatusCode.NOT_FOUND, str(error))
        except tf.errors.InvalidArgumentError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
        response = predict_pb2.PredictResponse()
        for key, value in outputs.items():
            response.outputs[key].CopyFrom(tf.make_tensor_proto(value.numpy()))
        return response


@contextlib.contextmanager
def grpc_server(model: Model):
    """Yields the server's address."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(model), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@contextlib.contextmanager
def rest_server(model: Model):
    """Yields the server's address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                code, answer = 200, {"predictions": self.predictions(body)}
            except LookupError as error:
                code, answer = 404, {"error": str(error)}
            except tf.errors.InvalidArgumentError as error:
                code, answer = 400, {"error": error.message}
            self.send_response(code)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def predictions(self, body):
            name = self.path.removeprefix("/v1/models/").removesuffix(":predict")
            files = [base64.b64decode(item["image_bytes"]["b64"]) for item in body["instances"]]
            inputs = {"image_bytes": tf.constant(files)}
            outputs = model.run(name, body["signature_name"], inputs)
            count = len(files)
            return [{k: v[i].numpy().tolist() for k, v in outputs.items()} for i in range(count)]

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()

"""Sends pictures to TensorFlow ModelServer over gRPC."""

import grpc
import numpy as np
import tensorflow as tf

from examples.pose.inference.signatures import BATCHED_SIGNATURE
from examples.serving import serving_api
from examples.serving.messages import ServerError, one_line, require_decoded, strings


def predict(address: str, model: str, image_bytes: bytes, timeout: float):
    """Sends a picture file; returns the joints `[J, 2]` and scores `[J]`.

    Args:
        address: Address of the server, such as `localhost:8500`.
        model: Name of the model.
        image_bytes: Content of a JPEG or PNG file.
        timeout: Seconds to wait for the answer.

    Raises:
        ServerError: The server cannot be reached, refuses the request, or gives no valid answer.
    """
    predict_pb2, service = serving_api.load("predict_pb2", "prediction_service_pb2_grpc")
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = BATCHED_SIGNATURE
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(strings(image_bytes)))
    with grpc.insecure_channel(address) as channel:
        try:
            response = service.PredictionServiceStub(channel).Predict(request, timeout)
        except grpc.RpcError as error:
            details = one_line(error.details())
            raise ServerError(f"{address}: {error.code().name}: {details}") from None
    missing = {"joints", "scores", "decoded"} - set(response.outputs)
    if missing:
        raise ServerError(f"{address}: not the answer of a pose model (no {missing.pop()})")
    answer = {name: tf.make_ndarray(response.outputs[name]) for name in response.outputs}
    require_decoded(answer["decoded"][0], address)
    return np.asarray(answer["joints"][0]), np.asarray(answer["scores"][0])

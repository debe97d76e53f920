"""Writes warm-up requests, which TensorFlow ModelServer runs before it serves a model.

A model's first request is slow, because graphs are optimized and memory pools grow. To spare the
first client this wait, the server runs the requests in `assets.extra/tf_serving_warmup_requests`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from examples.pose.inference.signatures import FILE_SIGNATURES, IMAGES_SIGNATURE
from examples.serving import serving_api
from examples.serving.messages import encode, strings

WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"


def write_warmup(saved_model, model_name: str, pictures: Sequence[np.ndarray]) -> None:
    """Writes requests to all signatures into a SavedModel's folder.

    Files of each picture are sent, but pixels only of the first. A server that combines requests
    into batches may run these at the same time, and pixels of several sizes cannot share a batch.

    Args:
        saved_model: Folder of the SavedModel.
        model_name: Name of the model on the server.
        pictures: Pictures uint8 `[height, width, 3]`, in the sizes that clients will send.

    Raises:
        ServingApiError: The package `tensorflow-serving-api` is not installed.
    """
    predict_pb2, log_pb2 = serving_api.load("predict_pb2", "prediction_log_pb2")
    path = Path(saved_model) / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    files = [strings(encode(picture)) for picture in pictures]
    inputs = [(IMAGES_SIGNATURE, "images", pictures[0][np.newaxis])]
    inputs += [(name, "image_bytes", file) for name in FILE_SIGNATURES for file in files]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, name, value in inputs:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = model_name
            request.model_spec.signature_name = signature
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            log = log_pb2.PredictionLog(predict_log=log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())

"""Sends a picture to TensorFlow ModelServer and draws the pose in its answer.

python -m examples.serving.client photo.jpg --grpc localhost:8500 --output pose.png
python -m examples.serving.client photo.jpg --rest localhost:8501 --output pose.png

Prints the joints and their scores.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from examples.pose.cli import command_line
from examples.pose.datasets.skeletons import LSP_SKELETON, Skeleton
from examples.pose.files import output_paths
from examples.pose.images import drawing
from examples.pose.images.image_files import new_picture, read_image, write_image
from examples.serving.messages import ServerError, encode

DRAWING_SIZE = 384


def _parser() -> argparse.ArgumentParser:
    parser = command_line.Parser(
        prog="python -m examples.serving.client", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("image", help="picture of one person that fills most of it")
    server = parser.add_mutually_exclusive_group(required=True)
    server.add_argument(
        "--grpc", type=_address, metavar="HOST:PORT", help="the server's gRPC address"
    )
    server.add_argument(
        "--rest", type=_address, metavar="HOST:PORT", help="the server's REST address"
    )
    add("--output", type=new_picture, required=True, help="picture to write")
    add("--model", default="pose", help="the model's name")
    add("--skeleton", help="assets/skeleton.json of the export (default: the joints of LSP)")
    add(
        "--min_score",
        type=command_line.score,
        default=0.5,
        help="joints with a lower score are drawn as uncertain",
    )
    add(
        "--timeout",
        type=command_line.positive_number,
        default=30,
        help="seconds to wait for the answer",
    )
    return parser


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    valid = port.isascii() and port.isdecimal() and 0 < int(port) < 2**16
    try:
        host.encode("idna")
    except UnicodeError:
        valid = False
    if not host or "/" in text or any(map(str.isspace, text)) or not valid:
        raise argparse.ArgumentTypeError(f"must be HOST:PORT, such as localhost:8500, got {text!r}")
    return text


def main(argv=None) -> None:
    """Runs the command `python -m examples.serving.client`."""
    arguments = _parser().parse_args(argv)
    # Only the client in use is imported, because the gRPC client needs packages of its own.
    if arguments.grpc:
        from examples.serving.grpc_client import predict
    else:
        from examples.serving.rest_client import predict
    read = [arguments.image, *filter(None, [arguments.skeleton])]
    output_paths.check_outputs([("--output", arguments.output)], read)
    skeleton = _read_skeleton(arguments.skeleton)
    # The picture is decoded here and sent as JPEG, so it may have any format that Pillow reads.
    image = read_image(arguments.image)
    address = arguments.grpc or arguments.rest
    joints, scores = predict(address, arguments.model, encode(image), arguments.timeout)
    _check_answer(joints, scores, skeleton, address)
    visibility = drawing.visibility_of_scores(scores, arguments.min_score)
    drawn = drawing.draw_pose(image, joints, visibility, skeleton, min_size=DRAWING_SIZE)
    write_image(arguments.output, drawn)
    for name, (x, y), score in zip(skeleton.joint_names, joints, scores, strict=True):
        print(f"{name.replace('_', ' '):<16}{x:8.1f}{y:8.1f}{score:7.2f}")
    print(f"Drawn: {arguments.output}")


def _read_skeleton(path: str | None) -> Skeleton:
    if path is None:
        return LSP_SKELETON
    try:
        return Skeleton.from_metadata(json.loads(Path(path).read_text()))
    except (ValueError, KeyError, TypeError):
        raise ServerError(f"--skeleton {path} is not the skeleton.json of an export.") from None


def _check_answer(joints: np.ndarray, scores: np.ndarray, skeleton: Skeleton, address) -> None:
    count = skeleton.num_joints
    if joints.shape != (count, 2) or scores.shape != (count,):
        raise ServerError(
            f"{address}: the model's answer has joints of shape {list(joints.shape)}, but the "
            f"skeleton has {count} joints. Pass --skeleton with the file of the served export."
        )
    if not (np.isfinite(joints).all() and (scores > 0).all()):
        raise ServerError(f"{address}: the network's output is NaN or infinite.")


if __name__ == "__main__":
    sys.exit(command_line.run(main))

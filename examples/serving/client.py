"""Sends a photo to TensorFlow ModelServer and draws the pose that it answers.

python -m examples.serving.client photo.jpg --grpc localhost:8500 --output pose.png
python -m examples.serving.client photo.jpg --rest localhost:8501 --output pose.png
"""

import argparse
import json
import sys
from pathlib import Path

from examples.pose import drawing
from examples.pose.datasets.pose_features import LSP_SKELETON, Skeleton
from examples.pose.images import ImageError, is_image_name, read_image, write_image
from examples.serving.messages import ServerError, encode
from examples.serving.serving_api import ServingApiError

DRAWING_SIZE = 384


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.serving.client", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("image", help="picture of one person that fills most of it")
    server = parser.add_mutually_exclusive_group(required=True)
    server.add_argument("--grpc", metavar="HOST:PORT", help="the server's gRPC address")
    server.add_argument("--rest", metavar="HOST:PORT", help="the server's REST address")
    add("--output", required=True, help="picture to write")
    add("--model", default="pose", help="the model's name (default: %(default)s)")
    add("--skeleton", help="the export's assets/skeleton.json; without it, the joints of LSP")
    add("--min_score", type=float, default=0.5, help="of certain joints (default: %(default)s)")
    add("--timeout", type=float, default=30, help="seconds (default: %(default)s)")
    return parser


def main(argv=None) -> None:
    """The command `python -m examples.serving.client`."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if not is_image_name(arguments.output):
        parser.error(f"--output {arguments.output}: must end in .png or .jpg")
    # Each needs packages that the other does not.
    if arguments.grpc:
        from examples.serving.grpc_client import predict
    else:
        from examples.serving.rest_client import predict
    try:
        skeleton = _read_skeleton(arguments.skeleton)
        # As a viewer shows it: the server ignores the camera's orientation tag.
        image = read_image(arguments.image)
        address = arguments.grpc or arguments.rest
        joints, scores = predict(address, arguments.model, encode(image), arguments.timeout)
        visibility = drawing.visibility_of_scores(scores, arguments.min_score)
        drawn = drawing.draw_pose(image, joints, visibility, skeleton, min_size=DRAWING_SIZE)
        write_image(arguments.output, drawn)
    except (ServerError, ServingApiError, ImageError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    for name, (x, y), score in zip(skeleton.joint_names, joints, scores, strict=True):
        print(f"{name.replace('_', ' '):<16}{x:8.1f}{y:8.1f}{score:7.2f}")
    print(f"Drawn: {arguments.output}")


def _read_skeleton(path: str | None) -> Skeleton:
    if path is None:
        return LSP_SKELETON
    return Skeleton.from_metadata(json.loads(Path(path).read_text()))


if __name__ == "__main__":
    main()

"""Runs an exported SavedModel with TensorFlow and the library of box operators only.

`export` runs this command to check that a server or another program can load the SavedModel. The
command loads the compiled library itself, and neither imports `tf_boxconv` nor builds Keras layers.
"""

import sys

from examples.pose.cli import command_line
from examples.pose.cli.errors import as_user_error


def run_signatures(saved_model, feeds: dict) -> dict:
    """Calls signatures of a SavedModel.

    Args:
        saved_model: Folder of the SavedModel.
        feeds: One array for each call, by the key `"<signature>/<input>/<any name>"`.

    Returns:
        The outputs of all calls, by the key `"<key in feeds>/<output>"`.
    """
    import tensorflow as tf

    loaded = tf.saved_model.load(str(saved_model))
    results = {}
    for key, value in feeds.items():
        signature, argument, _ = key.split("/")
        outputs = loaded.signatures[signature](**{argument: tf.constant(value)})
        results |= {f"{key}/{name}": tensor.numpy() for name, tensor in outputs.items()}
    return results


def main(argv=None) -> None:
    """Reads the inputs from a .npz file and writes the outputs to another."""
    parser = command_line.Parser(
        prog="python -m examples.pose.reload_check", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--library", help="the compiled library of box operators, if needed")
    parser.add_argument("--saved_model", required=True, help="folder of the SavedModel")
    parser.add_argument("--feeds", required=True, help=".npz file with the inputs of each call")
    parser.add_argument("--results", required=True, help=".npz file to write the outputs to")
    arguments = parser.parse_args(argv)
    import numpy as np
    import tensorflow as tf

    if arguments.library:
        with as_user_error(tf.errors.NotFoundError, prefix="--library: "):
            tf.load_op_library(arguments.library)
    with np.load(arguments.feeds, allow_pickle=True) as feeds:
        results = run_signatures(arguments.saved_model, dict(feeds))
    np.savez(arguments.results, **results)
    if "tf_boxconv" in sys.modules:
        sys.exit("reload_check: tf_boxconv was imported, but this check must run without it.")


if __name__ == "__main__":
    sys.exit(command_line.run(main))

"""How many epochs a training makes in a given time on this machine."""

import time
from collections.abc import Callable, Iterator, Sequence

from examples.pose.training.trainer import Trainer

# The first steps are slower, because they compile the network.
FIRST_STEPS, MEASURED_STEPS = 10, 30
STEPS = FIRST_STEPS + MEASURED_STEPS


def epochs_in(
    minutes: float,
    steps_per_epoch: int,
    trainer: Trainer,
    batches: Iterator[Sequence],
    evaluate: Callable[[], object],
) -> tuple[int, float]:
    """Measures some steps and an evaluation, and returns how many epochs take about `minutes`.

    Args:
        minutes: Duration of the training, without reading and without the final evaluation.
        steps_per_epoch: Steps in an epoch. An evaluation follows them.
        trainer: Is trained for `STEPS` steps.
        batches: Iterator over at least `STEPS` batches.
        evaluate: The evaluation after each epoch.

    Returns:
        The number of epochs, at least 1, and the minutes that they take.
    """
    trainer.run(batches, FIRST_STEPS)
    steps = _seconds(lambda: trainer.run(batches, MEASURED_STEPS)) / MEASURED_STEPS
    evaluate()
    epoch = (steps_per_epoch * steps + _seconds(evaluate)) / 60
    epochs = max(1, round(minutes / epoch))
    return epochs, epochs * epoch


def _seconds(call: Callable[[], object]) -> float:
    start = time.monotonic()
    call()
    return time.monotonic() - start

"""How many epochs a training makes in a given time on this machine."""

import time
from collections.abc import Callable, Iterator, Sequence

from examples.pose.training.trainer import Trainer

# The first steps are slower, because they compile the network.
FIRST_STEPS, MEASURED_STEPS = 10, 30
# Steps are timed for at least this share of the training: the speed varies, and the first of them
# take batches that were made during the compilation.
MEASURED_SHARE = 0.01


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
        trainer: Is trained for some steps.
        batches: Iterator over any number of batches.
        evaluate: The evaluation after each epoch.

    Returns:
        The number of epochs, at least 1, and the minutes that they take.
    """
    trainer.run(batches, FIRST_STEPS)
    seconds, steps = 0.0, 0
    while steps == 0 or seconds < MEASURED_SHARE * minutes * 60:
        seconds += _seconds(lambda: trainer.run(batches, MEASURED_STEPS))
        steps += MEASURED_STEPS
    evaluate()
    epoch = (steps_per_epoch * seconds / steps + _seconds(evaluate)) / 60
    epochs = max(1, round(minutes / epoch))
    return epochs, epochs * epoch


def _seconds(call: Callable[[], object]) -> float:
    start = time.monotonic()
    call()
    return time.monotonic() - start

"""The training loop, which runs on one or many devices, averages weights, and resumes exactly.

`keras.Model.fit` (Keras 3.15) cannot run under `MultiWorkerMirroredStrategy`: it treats a batch
that is distributed over workers as a tensor, and fails with "Attempt to convert a value
(PerReplica...) with an unsupported type". This loop makes the same steps in one process or many, on
TensorFlow and on JAX.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import numpy as np

from examples.pose import models
from examples.pose.datasets.in_memory import Photographs
from examples.pose.datasets.skeletons import Skeleton
from examples.pose.evaluation import metrics
from examples.pose.inference import backends
from examples.pose.models import heatmaps, older
from examples.pose.training.distribution import Workers
from examples.pose.training.fused_normalisation import with_fused_normalisation
from examples.pose.training.input_pipeline import plain_batches
from examples.pose.training.optimisation import Optimisation
from examples.pose.training.run_folder import RunFolderError

# The loss is read every this many steps. Reading it waits for the device.
CHECK_STEPS = 10
# Uniform heatmaps have a loss of log(number of cells). A mean loss above EXPLOSION times that value
# means that the training diverges.
EXPLOSION = 3.0


class DivergedError(RunFolderError):
    """The loss became NaN, infinite or huge; the message says at which step and what to do."""


class Trainer:
    """Trains a network.

    Attributes:
        model: The network that is trained, on every device, under the dtype policy of `settings`.
        inference: A float32 copy of the network with its last output only, in this process. It is
            evaluated and saved. `update_inference` copies the trained weights to it.
        done: The number of steps made.

    Args:
        build: Makes the network. It is called twice, without resetting the random seed.
        settings: Learning rate, precision and other settings of the optimizer.
        workers: The devices to train on.
    """

    def __init__(self, build: Callable[[], keras.Model], settings: Optimisation, workers: Workers):
        self.settings = settings
        self.workers = workers
        self.done = 0
        self.inference = models.inference_model(build())
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy(settings.precision)
        try:
            with workers.scope():
                self.model = with_fused_normalisation(build())
                self._optimizer = settings.optimizer(self.model.trainable_variables)
        finally:
            keras.config.set_dtype_policy(policy)
        self._largest_loss = EXPLOSION * math.log(math.prod(self.inference.output_shape[1:3]))
        self._step = workers.compile_step(
            self.model, self._optimizer, heatmaps.HeatmapCrossEntropy(), settings.clip_norm
        )
        self._predict = backends.compiled(self.inference)

    def run(
        self,
        batches: Iterator[Sequence],
        steps: int,
        report: Callable[[int, float], None] = lambda step, loss: None,
        after_step: Callable[[int], None] = lambda number: None,
    ) -> float:
        """Trains for a number of steps.

        Args:
            batches: Iterator over the batches of `workers.distribute`, starting with step `done`.
            steps: Number of steps.
            report: Called every `CHECK_STEPS` steps, and at the end, with the number of steps made
                by this call and the mean loss since the last report.
            after_step: Called after every step with the number of steps made by this call.

        Returns:
            The mean loss of the last output over all steps.

        Raises:
            DivergedError: The loss is not finite or has exploded.
        """
        losses, pending = [], []
        for number in range(1, steps + 1):
            pending.append(self._step(*next(batches)))
            self.done += 1
            after_step(number)
            if number % CHECK_STEPS == 0 or number == steps:
                recent = [float(loss) for loss in pending]
                pending.clear()
                self._require_convergence(recent)
                losses.extend(recent)
                report(number, float(np.mean(recent)))
        return float(np.mean(losses))

    def _require_convergence(self, losses: list[float]) -> None:
        mean = np.mean(losses)
        if np.isfinite(mean) and mean <= self._largest_loss:
            return
        not_finite = [i for i, loss in enumerate(losses) if not np.isfinite(loss)]
        index = not_finite[0] if not_finite else len(losses) - 1
        step = self.done - len(losses) + index
        reason = f"loss {losses[index]:.4g}"
        if np.isfinite(mean):
            reason = (
                f"mean loss {mean:.4g} over {len(losses)} steps, far above that of a uniform guess"
            )
        raise DivergedError(
            f"The training diverged at step {step + 1}: {reason}, learning rate "
            f"{self.learning_rate(step):.3g}."
        )

    def learning_rate(self, step: int | None = None) -> float:
        """Returns the learning rate of step `step`, counted from 0; by default, of the next one."""
        return float(self.settings.schedule(self.done if step is None else step))

    def update_inference(self) -> None:
        """Copies the weights, or their running averages, to `inference`."""
        current = [variable.numpy() for variable in self.model.trainable_variables]
        if self.settings.ema:
            self._optimizer.finalize_variable_values(self.model.trainable_variables)
        averaged = {variable.path: variable.numpy() for variable in self.model.variables}
        if self.settings.ema:
            for variable, value in zip(self.model.trainable_variables, current, strict=True):
                variable.assign(value)
        for variable in self.inference.variables:
            value = averaged[variable.path]
            # Keras averages weights before their constraints are applied.
            if variable.constraint is not None:
                value = variable.constraint(value)
            variable.assign(value)

    def measure(self, photographs: Photographs, skeleton: Skeleton, batch_size: int) -> float:
        """PCK@0.2 of `inference` in percent, on letterboxed images and without flip test."""
        pck = metrics.PCK(skeleton.num_joints, skeleton.pck_reference)
        boxes = photographs.boxes
        for start, (images, targets) in zip(
            range(0, len(photographs), batch_size),
            plain_batches(photographs, batch_size),
            strict=True,
        ):
            joints, _ = heatmaps.decode(self._predict(images))
            batch_boxes = None if boxes is None else boxes[start : start + batch_size]
            pck.update_joints(joints, targets[..., :2], targets[..., 2] > 0, batch_boxes)
        return float(pck.result())

    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predicts images `[n, S, S, 3]`: joints `[n, J, 2]` in their pixels, and scores."""
        joints, scores = heatmaps.decode(self._predict(images.astype(np.float32)))
        return joints.numpy(), scores.numpy()

    def state(self) -> dict[str, np.ndarray]:
        """Returns everything that the next steps depend on except the batches: arrays by name.

        Raises:
            DivergedError: A weight or an optimizer variable is not finite.
        """
        state = {name: variable.numpy() for name, variable in self._variables().items()}
        for name, value in state.items():
            if not np.all(np.isfinite(value)):
                raise DivergedError(
                    f"The training diverged: {name} is not finite after step {self.done}, "
                    f"learning rate {self.learning_rate(self.done - 1):.3g}."
                )
        return {"step": np.int64(self.done), **state}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Restores a state that `state` returned in a training with the same arguments.

        Older versions did not save the `scale` of box layers. If a scale is missing, the layer
        keeps its own, which the arguments determine. `examples.pose.models.older` converts states
        of versions whose blocks had other layers.

        Raises:
            RunFolderError: `state` belongs to another network or optimizer.
        """
        named = self._variables()
        state = older.convert_state(state, self.model, named)
        variables = {
            name: variable
            for name, variable in named.items()
            if name in state or not _is_scale(name)
        }
        shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
        found = {name: np.shape(value) for name, value in state.items() if name != "step"}
        if "step" not in state or shapes != found:
            names = [n for n in {**shapes, **found} if shapes.get(n) != found.get(n)] or ["step"]
            raise RunFolderError(
                f"The saved state belongs to another training: {names[0]} has shape "
                f"{found.get(names[0])} there, {shapes.get(names[0])} here."
            )
        with self.workers.scope():
            for name, variable in variables.items():
                variable.assign(state[name])
        self.done = int(state["step"])

    def _variables(self) -> dict[str, keras.Variable]:
        named = {f"weight {v.path}": v for v in self.model.variables}
        # A path begins with the name of the optimizer, which is left out: Keras numbers optimizers,
        # so the name would be another one after a restart.
        return named | {
            f"optimizer {i} {v.path.rpartition('/')[2]}": v
            for i, v in enumerate(self._optimizer.variables)
        }


def _is_scale(name: str) -> bool:
    return name.startswith("weight ") and name.endswith("/scale")

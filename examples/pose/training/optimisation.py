"""The optimizer of a training run: learning rate schedule, weight decay, averages, precision."""

import dataclasses
import math

import keras

from examples.pose.training import PRECISIONS

WARMUP_STEPS = 100
# Weights whose path contains one of these words do not decay. Decay would shrink boxes to nothing,
# and it does not regularize weights that only shift or scale a channel.
UNDECAYED = ("boxes", "gamma", "beta", "bias")


@dataclasses.dataclass(frozen=True)
class Optimisation:
    """How a network is trained.

    Attributes:
        steps: Number of steps in the whole run.
        learning_rate: The highest learning rate. The rate rises to it during a short warm-up, then
            falls along a cosine.
        weight_decay: As in `keras.optimizers.AdamW`: a step multiplies each kernel by
            `1 - learning_rate * weight_decay`. Boxes, biases and normalisations do not decay.
        clip_norm: Gradients are scaled down if their global norm exceeds it; 0 does not clip.
        ema: Momentum of the exponential moving average of the weights. The averaged weights are
            evaluated and saved; 0 uses the weights themselves.
        precision: The Keras dtype policy, one of `PRECISIONS`. Weights, boxes, heatmaps and the
            loss are float32 under each of them.

    Raises:
        ValueError: An attribute is out of its range.
    """

    steps: int
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    ema: float = 0.0
    precision: str = "float32"

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError(f"`steps` must be at least 1, got {self.steps}.")
        for name in ("learning_rate", "weight_decay", "clip_norm"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"`{name}` must be finite, got {getattr(self, name)}.")
        if self.learning_rate <= 0:
            raise ValueError(f"`learning_rate` must be positive, got {self.learning_rate}.")
        for name in ("weight_decay", "clip_norm"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must not be negative, got {getattr(self, name)}.")
        if not 0 <= self.ema < 1:
            raise ValueError(f"`ema` must be from 0 to below 1, got {self.ema}.")
        if self.precision not in PRECISIONS:
            raise ValueError(f"`precision` must be one of {PRECISIONS}, got {self.precision!r}.")

    @property
    def schedule(self) -> keras.optimizers.schedules.LearningRateSchedule:
        """The learning rate as a function of the step: a linear warm-up, then a cosine."""
        warmup = min(WARMUP_STEPS, self.steps // 10)
        return keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup else self.learning_rate,
            decay_steps=self.steps - warmup,
            warmup_target=self.learning_rate if warmup else None,
            warmup_steps=warmup,
        )

    def optimizer(self, variables: list[keras.Variable]) -> keras.optimizers.Optimizer:
        """Makes an AdamW optimizer, built on `variables`.

        It does not clip gradients; the training step does.
        """
        optimizer = keras.optimizers.AdamW(
            self.schedule,
            weight_decay=self.weight_decay,
            use_ema=self.ema > 0,
            ema_momentum=self.ema,
        )
        optimizer.exclude_from_weight_decay(var_names=list(UNDECAYED))
        if self.precision == "mixed_float16":
            optimizer = keras.mixed_precision.LossScaleOptimizer(optimizer)
        optimizer.build(variables)
        return optimizer

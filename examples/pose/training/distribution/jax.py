"""Training on JAX by `keras.distribution`.

Variables are replicated on all devices and batches are sharded among them. A step is written as if
for one device and the whole batch. XLA divides the work, sums the gradients, and normalises over
the whole batch.
"""

import contextlib
from collections.abc import Callable, Iterator

import jax
import keras
import tensorflow as tf
from jax import numpy as jnp
from jax.experimental import multihost_utils

from examples.pose.training import distribution


class Workers:
    """`distribution.Workers` on JAX; `name` is one of `training.STRATEGIES`."""

    def __init__(self, name: str):
        # TensorFlow makes only the batches. If it saw a GPU, it would reserve the memory that JAX
        # needs.
        tf.config.set_visible_devices([], "GPU")
        if name == "multiworker":
            addresses, index = distribution.cluster()
            keras.distribution.initialize(",".join(addresses), len(addresses), index)
            # Workers connect at their first collective operation and wait at most 30 s for each
            # other. They connect here, before reading data, which may take one worker longer.
            multihost_utils.sync_global_devices("all workers have started")
        devices = keras.distribution.list_devices()
        self._distribution = keras.distribution.DataParallel(
            devices=devices[:1] if name == "none" else devices, auto_shard_dataset=False
        )
        self.replicas = self._distribution.device_mesh.devices.size
        self.is_chief = jax.process_index() == 0
        mesh = self._distribution.device_mesh.backend_mesh
        by_batch = jax.sharding.PartitionSpec(self._distribution.batch_dim_name)
        self._sharded = jax.sharding.NamedSharding(mesh, by_batch)
        self._replicated = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())

    def scope(self) -> contextlib.AbstractContextManager:
        """See `distribution.Workers`."""
        return self._distribution.scope()

    def distribute(self, make_batches: Callable[[range, int], tf.data.Dataset]) -> Iterator:
        """See `distribution.Workers`."""
        local = self.replicas // jax.process_count()
        first = jax.process_index() * local
        parts = make_batches(range(first, first + local), self.replicas)

        def join(part):
            part = part.reshape(-1, *part.shape[2:])
            return jax.make_array_from_process_local_data(self._sharded, part)

        for batch in parts.batch(local).prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
            yield tuple(map(join, batch))

    def compile_step(self, model, optimizer, loss, clip_norm) -> Callable:
        """See `distribution.Workers`."""
        variables = (
            model.trainable_variables,
            model.non_trainable_variables,
            optimizer.variables,
        )

        def scaled(value, state):
            mapping = list(zip(optimizer.variables, state, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                return optimizer.scale_loss(value)

        def scaled_loss(trained, others, state, images, targets):
            outputs, others = model.stateless_call(trained, others, images, training=True)
            losses = [loss(targets, output) for output in jax.tree.leaves(outputs)]
            return scaled(sum(losses), state), (others, losses[-1])

        @jax.jit(out_shardings=self._replicated)
        def step(trained, others, state, images, targets):
            gradients, (others, last) = jax.grad(scaled_loss, has_aux=True)(
                trained, others, state, images, targets
            )
            if clip_norm:
                gradients = _clip_by_global_norm(gradients, scaled(clip_norm, state))
            trained, state = optimizer.stateless_apply(state, gradients, trained)
            return (trained, others, state), last

        def assigning_step(images, targets):
            values = [[variable.value for variable in group] for group in variables]
            # Puts values on the mesh if they are not there: in the first step, and after other code
            # assigned them. Otherwise JAX would compile the step again for them.
            values = jax.device_put(values, self._replicated)
            changed, last = step(*values, images, targets)
            for group, new in zip(variables, changed, strict=True):
                for variable, value in zip(group, new, strict=True):
                    variable.assign(value)
            return last

        return assigning_step

    def wait(self) -> None:
        """See `distribution.Workers`."""
        multihost_utils.sync_global_devices("the end of the training")


def _clip_by_global_norm(gradients, limit):
    """Scales gradients down to a global norm of `limit` if their norm is larger."""
    norm = jnp.sqrt(sum(jnp.sum(jnp.square(gradient)) for gradient in gradients))
    scale = limit / jnp.maximum(norm, limit)
    return [gradient * scale for gradient in gradients]

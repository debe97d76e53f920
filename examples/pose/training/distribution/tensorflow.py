"""Training on TensorFlow by `tf.distribute`."""

import contextlib
from collections.abc import Callable

import keras
import tensorflow as tf

from examples.pose.training import distribution


class Workers:
    """`distribution.Workers` on TensorFlow; `name` is one of `training.STRATEGIES`."""

    def __init__(self, name: str):
        self.is_chief = True
        if name == "none":
            self._strategy = tf.distribute.get_strategy()
        elif name == "mirrored":
            kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
            devices = [device.name for device in tf.config.list_logical_devices(kind)]
            self._strategy = tf.distribute.MirroredStrategy(devices)
        else:
            distribution.cluster()
            self._strategy = tf.distribute.MultiWorkerMirroredStrategy()
            resolver = self._strategy.cluster_resolver
            self.is_chief = resolver.task_type in ("chief", None) or (
                "chief" not in resolver.cluster_spec().jobs and resolver.task_id == 0
            )
        self.replicas = self._strategy.num_replicas_in_sync

    def scope(self) -> contextlib.AbstractContextManager:
        """See `distribution.Workers`."""
        return self._strategy.scope()

    def distribute(self, make_batches: Callable[[range, int], tf.data.Dataset]):
        """See `distribution.Workers`."""

        def make(context):
            local = self.replicas // context.num_input_pipelines
            first = context.input_pipeline_id * local
            return make_batches(range(first, first + local), self.replicas)

        return self._strategy.distribute_datasets_from_function(make)

    def compile_step(self, model, optimizer, loss, clip_norm) -> Callable:
        """See `distribution.Workers`."""
        # With several replicas, batch normalisation averages over all of them.
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = self.replicas > 1

        def replica_step(images, targets):
            return self._replica_step(model, optimizer, loss, clip_norm, images, targets)

        @tf.function
        def step(images, targets):
            losses = self._strategy.run(replica_step, args=(images, targets))
            return self._strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

        return step

    def _replica_step(self, model, optimizer, loss, clip_norm, images, targets):
        """Makes one step on a replica's part of the batch.

        Returns:
            The part's contribution to the loss of the last output. The sum over all replicas is the
            loss of the batch.
        """
        context = tf.distribute.get_replica_context()
        # The loss is a mean over labelled joints, and their number differs between the parts.
        labelled = tf.reduce_sum(targets[..., 2])
        all_labelled = context.all_reduce(tf.distribute.ReduceOp.SUM, labelled)
        share = labelled / tf.maximum(all_labelled, 1.0)
        with tf.GradientTape() as tape:
            outputs = tf.nest.flatten(model(images, training=True))
            losses = [share * loss(targets, output) for output in outputs]
            scaled = optimizer.scale_loss(tf.add_n(losses))
        variables = [variable.value for variable in model.trainable_variables]
        gradients = tape.gradient(scaled, variables)
        # Keras clips gradients and tests for infinities before it sums over the replicas, so
        # replicas could disagree. Summed here, the gradients are the same on all replicas.
        if self.replicas > 1:
            gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        if clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, optimizer.scale_loss(clip_norm))
        # `apply` sums over the replicas again.
        gradients = [gradient / self.replicas for gradient in gradients]
        optimizer.apply(gradients, model.trainable_variables)
        return losses[-1]

    def wait(self) -> None:
        """See `distribution.Workers`."""
        if self.replicas > 1:
            here = self._strategy.run(lambda: tf.constant(1.0))
            self._strategy.reduce(tf.distribute.ReduceOp.SUM, here, axis=None)

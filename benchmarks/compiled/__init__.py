"""Times the operator under XLA, in TensorFlow and JAX, and a training step with and without XLA."""

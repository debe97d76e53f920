"""What XLA makes of the operator, in TensorFlow and in JAX, and of a model's training step."""

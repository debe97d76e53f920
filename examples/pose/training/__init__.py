"""Training: the loop, batches and augmentation, run folders, studies, and distribution.

This file imports nothing, because `--help` lists these names without importing TensorFlow (see
`examples.pose.cli`).
"""

# Choices of `--strategy`: one device, all devices of this process, or several processes.
STRATEGIES = ("none", "mirrored", "multiworker")
# Keras dtype policies.
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")

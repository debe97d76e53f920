"""Training: the loop, its batches, its run folder, and several processes.

This file imports nothing, because the commands list these names before they import anything heavy
(see `examples.pose.cli`).
"""

# Where to train: one device, all devices of this process, or several processes.
STRATEGIES = ("none", "mirrored", "multiworker")
# Keras dtype policies.
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")

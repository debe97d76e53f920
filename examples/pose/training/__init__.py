"""Training: the loop, its batches, its run folder, and several processes."""

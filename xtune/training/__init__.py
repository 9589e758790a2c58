"""The training engine: the loop, the loss, optimizers and schedules, checkpoints, and what watches a run."""

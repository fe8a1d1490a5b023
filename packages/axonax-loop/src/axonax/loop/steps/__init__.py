"""What a loop does with a batch: models, losses, optimizers and metrics as pure functions."""

"""What a user sees of a run, and what a restart needs: progress, logs, figures, checkpoints, signals."""

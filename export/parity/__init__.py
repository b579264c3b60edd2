"""The check that an artifact gives what the model gives."""

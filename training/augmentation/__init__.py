"""What changes an image."""

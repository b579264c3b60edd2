"""`keras-vit serve`: TF Serving's REST interface and a web page to try models on, for development."""

"""Published weights: the catalogue, downloads, file formats, and the rules that map a file's entries to variables."""

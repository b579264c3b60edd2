"""Folders of images for tests: from names of files to empty files of these names."""


def write_tree(root, *files):
    """Write a file below `root` for every name; "x/" is a folder."""
    for name in files:
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode("utf-8", "surrogateescape"))
    return root


def classes(folder, names="ab", images=3):
    """Names of images in class folders of a folder: "train" -> train/a/0.png, ..., train/b/2.png."""
    return [f"{folder}/{name}/{i}.png".removeprefix("./") for name in names for i in range(images)]

"""The limits on what comes from elsewhere: images, requests, weight files, checkpoints. Stated here and in docs."""

import os

MAX_PIXELS = 2**30 // 12  # 89 million, of an image: about where Pillow warns of a decompression bomb
MAX_SIDE = 2**20  # pixels of one side: filters take 16 bytes for each
MAX_IMAGE_BYTES = 2**30  # of an image's file
PIXELS_VARIABLE = "KERAS_VIT_MAX_PIXELS"  # in the environment, so that processes that are started have it too


def max_pixels():
    """Pixels that an image may have: MAX_PIXELS, or what the environment's KERAS_VIT_MAX_PIXELS says.

    Raises:
        ValueError: if that is no positive integer.
    """
    text = os.environ.get(PIXELS_VARIABLE, str(MAX_PIXELS))
    if not (text.isascii() and text.isdigit() and 0 < len(text) <= 18 and int(text) > 0):
        raise ValueError(f"{PIXELS_VARIABLE} must be a positive integer, of pixels. Received: {text[:40]!r}.")
    return int(text)


def set_max_pixels(count):
    """Let images of up to `count` pixels be read, in this process and in those that it starts."""
    os.environ[PIXELS_VARIABLE] = str(count)


def fits(width, height):
    """Whether an image of that size is read."""
    return width * height <= max_pixels() and max(width, height) <= MAX_SIDE


# Weight files. What was published stays far below all of these; a file beyond one is refused, with the limit's name.
MAX_PICKLE = 2**24  # bytes of a PyTorch file's pickle; with an optimizer's state it has 300 kB
MAX_PICKLE_STEPS = 2**20  # instructions of it, and items they copy; 40 for each tensor
MAX_INTEGER = 2**10  # bytes of an integer in it
MAX_NAME = 2**10  # characters of an array's name
MAX_ARRAYS = 20_000  # of a file
MAX_RANK = 32  # axes of an array, as NumPy had them for long
MAX_HEADER = 2**24  # bytes of a safetensors header, and of the index.json of shards
MAX_DIRECTORY = 2**23  # bytes of a zip's list of members
MAX_UNPACKED = 2**28  # bytes that all members of a zip, or arrays of an HDF5 file, unpack to; or, where that is more,
MAX_UNPACKED_RATIO = 20  # as many times the bytes of the file
MAX_EXPANDED = 2**20  # numbers of a tensor that repeats those it has (stride 0), unless its storage has more
MAX_REPEATED = 64  # times that views of storages read the bytes of a PyTorch file, beside MAX_UNPACKED
MAX_RESAMPLED = 2**25  # numbers of a table that is resampled
MAX_GRID = 2**11  # rows or columns of it
MAX_ARCHITECTURE = 2**22  # bytes of the config.json of a .keras file; a ViT-H has 60 kB
MAX_CONFIG = 2**22  # bytes of the config.json of another library; 21,843 names of classes have 700 kB
MAX_LAYERS = 6_000  # objects with a class that it lists; an EfficientNetV2-L has 4,500
MAX_NESTING = 100  # levels of JSON
MAX_OBJECTS = 20_000  # groups and arrays of an HDF5 file

# Requests of the development server; the size of a body is an option of it. MAX_NESTING is for them, too.
MAX_NUMBER = 2**10  # characters of a number in JSON
MAX_DIGITS = 19  # of a version in a path: 2**63 - 1 has as many
MAX_OCCLUDED = 1_000  # classes of a request for occlusion maps
READ_SECONDS = 20  # in which a request that is not complete must bring
READ_RATE = 500  # bytes for each of them, as Apache's mod_reqtimeout has it
LINGER_SECONDS = 2  # in which a connection that is closed takes up what the client still sends
GRACE_SECONDS = 10  # that requests have left when the server is to end

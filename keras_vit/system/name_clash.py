"""The name keras_vit is installed by another package too; two of them overwrite each other's files."""

from importlib import metadata

OTHER = "keras-vit"  # on PyPI since 2023, by another author, for Keras 2
OURS = "keras-vit-models"


def refuse_clash():
    """Raises ImportError while the distribution `keras-vit` is installed beside this one."""
    try:
        version = metadata.version(OTHER)
    except metadata.PackageNotFoundError:
        return
    raise ImportError(
        f"The package {OTHER} {version} installs a module called keras_vit as well and overwrites files of {OURS}. "
        f"Run: pip uninstall -y {OTHER} && pip install --force-reinstall --no-deps {OURS}"
    )

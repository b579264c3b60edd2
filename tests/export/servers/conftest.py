"""A folder for Triton, made once."""

import pytest


@pytest.fixture(scope="session")
def triton_folder(toy_source, expected, tmp_path_factory):
    """(folder, version, report) of the toy run."""
    from keras_vit.export.servers import repository

    folder = tmp_path_factory.mktemp("triton") / "served"
    return folder, *repository.export(toy_source, folder, "triton", expected, batch_sizes=[1, 4])

"""The clash with the other package of that name is told, not suffered."""

import sys
from importlib import metadata

import pytest

from keras_vit.system import name_clash


def test_the_other_package_is_named_with_the_remedy(tmp_path, monkeypatch):
    name_clash.refuse_clash()
    other = tmp_path / "keras_vit-1.0.1.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: keras-vit\nVersion: 1.0.1\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert metadata.version("keras-vit") == "1.0.1"
    with pytest.raises(ImportError, match="pip uninstall -y keras-vit"):
        name_clash.refuse_clash()

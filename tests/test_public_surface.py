"""The names that users are meant to call. A change of them is to be seen here."""

import ast
import pathlib
import subprocess
import sys

import pytest

import keras_vit
from keras_vit import analysis, layers, models

TOP = [
    "Embedder",
    "Embeddings",
    "Predictor",
    "analysis",
    "at_image_size",
    "create_model",
    "decode_predictions",
    "depth_groups",
    "feature_pyramid",
    "info",
    "intermediate_features",
    "layers",
    "list_models",
    "load_adapter",
    "load_embeddings",
    "load_run",
    "models",
    "nearest",
    "preprocess_input",
    "save_embeddings",
    "save_weights",
]
ANALYSIS = [
    "AttentionMap",
    "attention_maps",
    "attention_rollout",
    "count",
    "effective_receptive_field",
    "feature_pyramid",
    "intermediate_features",
    "mean_attention_distance",
    "patch_components",
    "patch_filters",
    "plot_attention_maps",
    "plot_attention_rollout",
    "plot_effective_receptive_field",
    "plot_mean_attention_distance",
    "plot_patch_components",
    "plot_patch_filters",
    "plot_position_similarity",
    "plot_relative_position_biases",
    "plot_relevance",
    "position_similarity",
    "relative_position_biases",
    "relevance",
]
LAYERS = [
    "EncoderBlock",
    "LayerScale",
    "MLP",
    "PositionEmbedding",
    "PreNormBlock",
    "PrependToken",
    "PrependTokens",
    "SelectToken",
    "SelfAttention",
    "SwiGLU",
    "TokensToGrid",
    "drop_path",
    "drop_path_rates",
    "merge_heads",
    "report_attention",
    "scaled_dot_product_attention",
    "split_heads",
]


@pytest.mark.parametrize("module, names", [(keras_vit, TOP), (analysis, ANALYSIS), (layers, LAYERS)])
def test_the_names_of(module, names):
    assert dir(module) == names == sorted(module.__all__)
    assert all(getattr(module, name) is not None for name in names)


def test_models_are_families_and_constructors():
    families = {"coat", "convnext", "deit", "dinov2", "hybrid", "pvt", "pvt_v2", "swin", "t2t", "t2t_backbones"}
    families |= {"tnt", "vit"}
    assert set(dir(models)) == families | set(models.VARIANTS) | {"VARIANTS"} and len(models.VARIANTS) == 88


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'keras_vit' has no attribute 'SwinT'"):
        keras_vit.SwinT


def test_the_stub_for_editors_lists_the_same_names():
    tree = ast.parse(pathlib.Path(keras_vit.__file__).with_suffix(".pyi").read_text())
    named = {alias.asname for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert named == set(TOP)


def test_the_import_is_light_and_changes_no_environment():
    code = (
        "import os, sys\nbefore = dict(os.environ)\nimport keras_vit\n"
        "keras_vit.list_models(), keras_vit.info('SwinT')\n"
        "assert os.environ == before\nassert not {'keras', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_names_of_training():
    from keras_vit import training

    names = ("CallbackError", "find_lr", "train", "write_average")
    assert all(callable(getattr(training, name)) for name in names)
    with pytest.raises(AttributeError, match="'keras_vit.training' has no attribute 'trian'"):
        training.trian


def test_the_names_of_export():
    from keras_vit import export

    assert callable(export.inference_form)
    with pytest.raises(AttributeError, match="'keras_vit.export' has no attribute 'inference'"):
        export.inference

"""Every row of the catalogue is complete and consistent; errors of look-ups name the remedy."""

import collections

import pytest

from keras_vit.weights import catalogue

ROWS = catalogue.rows()
EACH = pytest.mark.parametrize("family", sorted({row.family for row in ROWS}))


def of(family):
    return [row for row in ROWS if row.family == family]


def test_tags_are_unique_per_constructor_and_one_is_the_default():
    assert len({(row.constructor, row.tag) for row in ROWS}) == len(ROWS) == 225
    defaults = collections.Counter(row.constructor for row in ROWS if row.default)
    assert set(defaults.values()) == {1}
    assert {row.constructor for row in ROWS} - set(defaults) == {"ViTS8", "ViTH14", "ViTR26B32"}


@EACH
def test_a_row_is_complete(family):
    for row in of(family):
        assert row.tag and row.family and row.licence and row.pretraining
        assert row.classes in (0, 1000, 11821, 21841, 21843, 115217)
        assert row.size in {(side, side) for side in (224, 256, 320, 384, 518)}
        assert row.params is None or 1 < row.params < 1200
        assert row.licence == row.licence.lower().strip()
        for accuracy in (row.top1, row.top1_timm):
            assert not accuracy or 60 < float(accuracy.split("@")[0]) < 90


@EACH
def test_a_row_says_where_its_file_is(family):
    for row in of(family):
        assert bool(row.hub_id) == bool(row.hub_file)
        if row.hub_id.startswith("facebook/"):
            assert family == "DINOv2" and not row.timm_name  # transformers' copies
        else:
            assert row.hub_id == (f"timm/{row.timm_name}" if row.timm_name else "")
        assert row.hub_file in ("", "model.safetensors", "pytorch_model.bin")
        assert row.hub_id or row.url
        assert not row.url or row.url.startswith("https://")
        assert " " not in row.url + row.hub_id


@EACH
def test_a_row_gives_a_preprocessing_spec(family):
    for row in of(family):
        spec = row.spec
        assert spec.size == row.size and (spec.mean, spec.std) == (row.mean, row.std)
        assert (spec.crop_pct, spec.crop_mode, spec.interpolation) == (
            row.crop_pct,
            row.crop_mode,
            row.interpolation,
        )


def test_default_weights_can_classify_but_those_of_dinov2_which_are_backbones():
    for row in ROWS:
        assert not row.default or row.classes == (0 if row.family == "DINOv2" else 1000)


def test_weights_that_may_not_be_used_freely_say_so():
    licences = {row.licence for row in ROWS if row.tag.startswith(("dinov3", "eupe"))}
    assert licences == {"dinov3-license", "fair-noncommercial-research-license"}
    assert all("gated" in row.notes for row in ROWS if row.licence in licences)


def test_every_dinov2_is_there_as_each_of_the_three_libraries_publishes_it():
    for name in (f"DINOv2{size}{registers}" for size in "SBLG" for registers in ("", "Reg4")):
        timm, official, transformers = (
            catalogue.find(name, tag) for tag in ("lvd142m", "lvd142m_official", "lvd142m_transformers")
        )
        assert timm is catalogue.default(name) and timm.url == official.url
        assert timm.size == (518, 518) and official.size == transformers.size == (224, 224)
        assert not official.hub_id and transformers.hub_id.startswith("facebook/dinov2-")


def test_swin_t():
    row = catalogue.default("SwinT")
    assert row.name == "SwinT.ms_in1k" and row is catalogue.rows("SwinT")[0] is catalogue.find("SwinT", "ms_in1k")
    assert row.hub_id == "timm/swin_tiny_patch4_window7_224.ms_in1k" and row.licence == "mit"
    assert row.mean == (0.485, 0.456, 0.406) and row.top1 == "81.2" and row.params == 28.2884


def test_rows_are_parsed_once():
    assert catalogue.rows() is catalogue.rows()


def test_an_unknown_tag_lists_the_closest():
    with pytest.raises(ValueError, match="'ms_in22k_ft_1k'.*Closest: ms_in22k_ft_in1k.*Its tags: ms_in1k"):
        catalogue.find("SwinT", "ms_in22k_ft_1k")


def test_constructors_without_a_default_or_without_weights():
    with pytest.raises(ValueError, match="ViTS8 has no default weights.*Its tags: dino"):
        catalogue.default("ViTS8")
    with pytest.raises(ValueError, match="TNTTi.*No weights were published.*weights=None"):
        catalogue.default("TNTTi")
    with pytest.raises(ValueError, match="TNTTi.*No weights were published.*weights=None"):
        catalogue.find("TNTTi", "in1k")
    assert catalogue.rows("TNTTi") == ()

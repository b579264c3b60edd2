import pytest

from examples import distil


def test_student_is_t2t_vit_7_at_a_quarter_of_its_width():
    from keras_vit.models.t2t import T2TViT7

    whole, config = T2TViT7.config, distil.STUDENT.config
    assert (config.depth, config.num_heads, config.mlp_ratio) == (whole.depth, whole.num_heads, whole.mlp_ratio)
    assert (4 * config.embed_dim, 4 * config.token_dim) == (whole.embed_dim, whole.token_dim)
    assert config.performer and whole.performer


@pytest.mark.slow
def test_student_learns_from_the_teacher(tmp_path, monkeypatch, few_digits):
    facts, teacher = distil.train_teacher(tmp_path, epochs=1)
    distilled = distil.train_student(tmp_path, 0, teacher, "soft", epochs=1)
    alone = distil.train_student(tmp_path, 0, epochs=1)
    assert distilled["parameters"] == alone["parameters"] < facts["parameters"]
    assert 'distillation: "soft"' in (tmp_path / "soft-0" / "args.yaml").read_text()
    assert 'distillation: "none"' in (tmp_path / "alone-0" / "args.yaml").read_text()

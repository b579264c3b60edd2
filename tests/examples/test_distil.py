import pytest

from examples import digit_runs, distil


def test_student_is_t2t_vit_7_at_a_quarter_of_its_width():
    from keras_vit.models.t2t import T2TViT7

    whole, config = T2TViT7.config, distil.STUDENT.config
    assert (config.depth, config.num_heads, config.mlp_ratio) == (whole.depth, whole.num_heads, whole.mlp_ratio)
    assert (4 * config.embed_dim, 4 * config.token_dim) == (whole.embed_dim, whole.token_dim)
    assert config.performer and whole.performer


@pytest.mark.slow
def test_student_learns_from_the_teacher(tmp_path, monkeypatch, few_digits):
    monkeypatch.setattr(digit_runs, "QUICKSTART", digit_runs.QUICKSTART.replace(warmup_epochs=0, batch_size=32))
    facts, teacher = distil.train_teacher(tmp_path, epochs=1)
    distilled = distil.train_student(tmp_path, 0, teacher, "soft", epochs=1)
    alone = distil.train_student(tmp_path, 0, epochs=1)
    assert distilled["parameters"] == alone["parameters"] < facts["parameters"]
    assert 'distillation: "soft"' in (tmp_path / "soft-0" / "args.yaml").read_text()
    assert 'distillation: "none"' in (tmp_path / "alone-0" / "args.yaml").read_text()


def test_line():
    row = {"parameters": 1234, "top1": 97.0}
    assert distil.line("alone", [row, row | {"top1": 98.0}]).split() == (
        "alone 1,234 parameters 97.50 % test 97.00 - 98.00".split()
    )

import pytest

from keras_vit.training.step.host_list import expand


@pytest.mark.parametrize(
    "text, hosts",
    [
        ("n1", ["n1"]),
        ("n[01-03,7],gpu1", ["n01", "n02", "n03", "n7", "gpu1"]),
        ("n[8-11]", ["n8", "n9", "n10", "n11"]),
        ("n[098-101]", ["n098", "n099", "n100", "n101"]),
        ("b, a ,n[2,1]", ["b", "a", "n2", "n1"]),
        ("r[1-2]n[0-1].cluster", ["r1n0.cluster", "r1n1.cluster", "r2n0.cluster", "r2n1.cluster"]),
        ("swin-[0-1].swin:2222", ["swin-0.swin:2222", "swin-1.swin:2222"]),
        ("[1-2]", ["1", "2"]),
    ],
)
def test_ranges_are_written_out_in_order(text, hosts):
    assert expand(text) == hosts


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ",",
            "a,,b",
            "n[1-3",
            "n1-3]",
            "n[]",
            "n[3-1]",
            "n[a-b]",
            "n[1-]",
            "n[1,]",
            "n[-1]",
            "n[1-2-3]",
            "n[[1]]",
        ),
        *("a b", "[::1]", "n[1:2]", "n[٣]", "n[1-9999999999]"),
    ],
)
def test_a_list_that_is_none_is_refused_with_its_name(text):
    with pytest.raises(ValueError, match="^SLURM_STEP_NODELIST must list hosts.*Received: "):
        expand(text, "SLURM_STEP_NODELIST")


@pytest.mark.parametrize("text", ["n[0-999999999]", "a[0-999]b[0-999]", "a[0-9999]b[0-9999]c[0-9999]d[0-9999]"])
def test_more_hosts_than_any_cluster_has_are_refused_at_once(text):
    with pytest.raises(ValueError, match="--hosts must not name more than 65536 hosts"):
        expand(text)

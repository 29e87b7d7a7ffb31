"""The benchmark on real recordings and real handwriting: what a teacher gives, and what its controls do not."""

from statistics import mean

import pytest

from limbeck.demo import DemoOptions, run_demo

pytestmark = pytest.mark.real_data


def accuracies(folder, real_data, **options):
    """Mean test accuracy in % by (arm, control)."""
    rows = run_demo(
        DemoOptions(
            output=str(folder),
            images=f"mnist:{real_data / 'mnist'}",
            audio=f"fsdd:{real_data / 'fsdd' / 'recordings'}",
            labels=2,
            **options,
        ),
        show_progress=False,
    ).rows
    cells = {(row.arm, row.control) for row in rows}
    return {
        cell: 100
        * mean(r.value for r in rows if (r.arm, r.control, r.split, r.metric) == (*cell, "test", "accuracy"))
        for cell in cells
    }


@pytest.mark.full
def test_one_seed_shows_where_a_teacher_pays(tmp_path, real_data):
    found = accuracies(tmp_path, real_data, seeds=1, steps=100, arms=("supervised", "paired", "bagged"))
    alone = found["supervised", "none"]
    assert found["paired", "none"] > alone + 12
    assert found["bagged", "none"] > alone + 5
    assert found["paired", "shuffled"] < alone + 5
    assert found["bagged", "shuffled"] < alone + 5


@pytest.mark.slow
def test_five_seeds_reach_the_reference_figures(tmp_path, real_data):
    found = accuracies(tmp_path, real_data, seeds=5, steps=240)
    alone = found["supervised", "none"]
    assert 42 <= alone <= 54
    assert 83 <= found["paired", "none"] <= 91
    assert 72 <= found["bagged", "none"] <= 84
    assert abs(found["ucmkd", "none"] - alone) <= 3
    for arm in ("ucmkd", "paired", "bagged"):
        assert found[arm, "shuffled"] <= alone

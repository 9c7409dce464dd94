"""What the projection of general vectors is taught: changed forms that keep what they should, and a training that brings them together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.train import general, general_pairs

RANDOM = np.random.default_rng(0)
HOSTS = ["mail.example.org", "cdn.example.net"]


@given(st.text(max_size=60), st.integers(0, 99))
def test_other_numbers_leave_what_is_no_number(text, seed):
    found = general_pairs.other_numbers(text, np.random.default_rng(seed))
    assert [c for c in found if not c.isalnum()] == [c for c in text if not c.isalnum()]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("curl http://10.0.0.7:8080/a.sh", "curl http://{}:8080/a.sh"),
        ("Host: www.shop.example", "Host: {}"),
        ("ping 1.2.3.4 'evil.example'", "ping {} '{}'"),
        ("no host here, version 1.2 of setup.exe in C:\\a.b\\c.dat", "no host here, version 1.2 of setup.exe in C:\\a.b\\c.dat"),
    ],
)
def test_other_addresses_change_hosts_alone(text, left):
    before, *parts = left.split("{}")
    for seed in range(20):
        found = general_pairs.other_addresses(text, np.random.default_rng(seed), HOSTS)
        assert found.startswith(before) and found.endswith(parts[-1] if parts else before)
        assert not parts or "example" not in found.replace(HOSTS[0], "").replace(HOSTS[1], "")


def test_a_disguise_keeps_at_least_a_letter_in_most_strings():
    found = {general_pairs.disguised("/a?q=1' or 1=1 -- x", np.random.default_rng(seed)) for seed in range(60)}
    assert len(found) > 8


def test_training_brings_pairs_and_groups_together():
    pytest.importorskip("torch")
    hidden = np.random.default_rng(1).normal(size=(2, 300, 40)).astype(np.float32)
    hidden[1, :, :5] = hidden[0, :, :5]  # an eighth of the numbers is shared by a pair
    a, b = (general._unit(rows) for rows in hidden)
    begun = general.start(np.vstack([a, b]), (16, 24), (1.0, 1.0))
    groups = [(a, np.arange(300) // 10)]
    learnt = general.train(begun, general.Data(groups, [(a, b)]), steps=60, rate=3e-3, pair_weight=3.0, seed=0)

    def found(one: general.Learnt) -> float:
        x, y = (general._unit((rows - one.mean) @ one.weight) for rows in (a, b))
        return float((np.argmax(x @ y.T, 1) == np.arange(300)).mean())

    assert found(learnt) > found(begun) and learnt.weight.shape == (40, 16)

"""Batches are a pure function of (seed, step); splits are fixed."""

import itertools

import numpy as np
import pytest

from tfgen.data.splits import DataInfo, Split, random_split, split_sizes

N = 10


def _split(labels: bool = True) -> Split:
    x = np.arange(N, dtype=np.uint8)[:, None]
    return Split(x, np.arange(N, dtype=np.int32) if labels else None)


def _rows(dataset) -> list[np.ndarray]:
    return [batch.numpy()[:, 0] for batch in dataset]


@pytest.mark.parametrize("batch_size", [3, 10, 25])
def test_a_resumed_run_sees_the_batches_of_an_uninterrupted_one(batch_size):
    split = _split(labels=False)
    whole = _rows(split.training_batches(batch_size, seed=7, num_steps=9))
    assert len(whole) == 9
    for step in (1, 4, 8):
        tail = _rows(
            split.training_batches(batch_size, seed=7, start_step=step, num_steps=9 - step)
        )
        np.testing.assert_array_equal(np.stack(tail), np.stack(whole[step:]))


@pytest.mark.parametrize("batch_size", [3, 10, 25])
def test_every_epoch_is_a_permutation_and_epochs_differ(batch_size):
    stream = np.concatenate(_rows(_split(False).training_batches(batch_size, 0, num_steps=40)))
    assert len(stream) == 40 * batch_size
    epochs = stream[: len(stream) // N * N].reshape(-1, N)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(N), (len(epochs), 1)))
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


def test_permutations_are_uniform():
    """A shuffle of poor quality (few permutations, favoured places) would fail this."""
    small = Split(np.arange(4, dtype=np.uint8)[:, None])
    num_epochs = 4800
    stream = next(iter(small.training_batches(4 * num_epochs, seed=3))).numpy()
    epochs = stream.reshape(num_epochs, 4)
    _, counts = np.unique(epochs, axis=0, return_counts=True)
    assert len(counts) == 24
    chi_square = np.sum((counts - 200.0) ** 2 / 200.0)
    assert chi_square < 23 + 4 * np.sqrt(2 * 23)


def test_seeds_give_different_orders_and_labels_follow_their_examples():
    first, second = (
        next(iter(_split().training_batches(N, seed=seed, num_steps=1))) for seed in (0, 1)
    )
    np.testing.assert_array_equal(first[0].numpy()[:, 0], first[1].numpy())
    assert first[1].dtype == np.int32
    assert not np.array_equal(first[1].numpy(), second[1].numpy())


def test_training_batches_go_on_for_ever_and_have_a_static_shape():
    batches = _split(False).training_batches(4, seed=0)
    assert batches.element_spec.shape.as_list() == [4, 1]
    assert len(list(itertools.islice(batches, 50))) == 50


def test_batches_are_one_ordered_pass_with_a_short_end():
    batches = list(_split().batches(4))
    assert [len(x) for x, _ in batches] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([x for x, _ in batches])[:, 0], np.arange(N))
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), np.arange(N))


def test_an_empty_split_gives_no_batches_and_refuses_to_train():
    empty = _split()[:0]
    assert len(list(empty.batches(4))) == 0
    with pytest.raises(ValueError, match="split must be non-empty to train on; received: '0 rows'"):
        empty.training_batches(4, seed=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0, "seed": 0}, "batch_size must be an integer >= 1; received: 0"),
        ({"batch_size": 1, "seed": -1}, "seed must be an integer >= 0; received: -1"),
        ({"batch_size": 1, "seed": 0, "start_step": 1.5}, "start_step must be an integer >= 0"),
        ({"batch_size": 1, "seed": 0, "num_steps": -2}, "num_steps must be an integer >= 0"),
    ],
)
def test_bad_arguments_of_training_batches(arguments, message):
    with pytest.raises(ValueError, match=message):
        _split().training_batches(**arguments)


def test_a_random_split_deals_out_every_example_once_with_its_label():
    parts = random_split(_split(), num_validation=2, num_test=3, seed=5)
    assert [len(part) for part in parts] == [5, 2, 3]
    np.testing.assert_array_equal(
        np.sort(np.concatenate([part.x[:, 0] for part in parts])), np.arange(N)
    )
    for part in parts:
        np.testing.assert_array_equal(part.x[:, 0], part.y)
    # Frozen: other splits would make old numbers incomparable with new ones.
    np.testing.assert_array_equal(parts[2].y, [8, 6, 3])


def test_split_sizes_round_but_leave_one_example_each():
    assert split_sizes(1000, 0.1, 0.25, "x") == (100, 250)
    assert split_sizes(3, 0.1, 0.1, "x") == (1, 1)
    assert split_sizes(10, 0.0, 0.1, "x") == (0, 1)
    with pytest.raises(ValueError, match=r"my file must hold at least 3 examples .*received: 2"):
        split_sizes(2, 0.1, 0.1, "my file")
    with pytest.raises(ValueError, match=r"test_fraction must be a number in \[0, 1\).*1\.5"):
        split_sizes(10, 0.1, 1.5, "x")
    with pytest.raises(
        ValueError, match="validation_fraction \\+ test_fraction must be less than 1"
    ):
        split_sizes(10, 0.5, 0.5, "x")


def test_info_derives_dtype_and_dimensions():
    grey = DataInfo("grey", (4, 3, 2), num_levels=17)
    assert (grey.event_dtype, grey.num_dims, grey.train_num_levels) == ("uint8", 24, 17)
    assert DataInfo("table", (5,)).event_dtype == "float32"

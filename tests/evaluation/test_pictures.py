"""What stands where in pictures of samples and of completions."""

import numpy as np

from tfgen.evaluation.pictures import completion_strip, image_grid, image_rows, straight_paths

GAP, GREY = 2, 128


def cell(picture, row, column, side=56):
    top, left = (GAP + index * (side + GAP) for index in (row, column))
    return picture[top : top + side, left : left + side]


def test_grid_reads_like_text_and_shows_the_levels():
    images = np.arange(6, dtype="uint8").reshape(6, 1, 1, 1)  # six levels of one pixel
    picture = image_grid(images, 6, columns=3)
    for index in range(6):
        shown = cell(picture, index // 3, index % 3)
        assert (shown == 51 * index).all()
    assert (picture[:GAP] == GREY).all()


def test_completion_strip_has_a_row_an_image():
    originals = np.full((2, 2, 2, 1), 10, "uint8")
    completions = np.stack([np.full((3, 2, 2, 1), 2 * k, "uint8") for k in (1, 2)])
    mask = np.array([[True, True], [False, False]])
    picture = completion_strip(originals, mask, completions, 11)
    for row in range(2):
        assert (cell(picture, row, 0) == 255).all()
        kept = cell(picture, row, 1)
        assert (kept[:28] == 255).all()
        np.testing.assert_allclose(kept[28:], 127.5, atol=0.5)
        for column in (2, 3, 4):
            np.testing.assert_allclose(cell(picture, row, column), 51 * (row + 1), atol=1)


def test_rows_are_rows_and_columns_columns():
    levels = np.array([[0, 1, 2], [3, 4, 5]], "uint8")
    picture = image_rows(levels[..., None, None, None], 6)
    for row in range(2):
        for column in range(3):
            assert (cell(picture, row, column) == 51 * levels[row, column]).all()


def test_straight_paths_hit_both_ends_and_the_middle():
    starts, ends = np.random.default_rng(0).standard_normal((2, 4, 2, 3, 1)).astype("float32")
    paths = straight_paths(starts, ends, 5)
    assert paths.shape == (4, 5, 2, 3, 1)
    np.testing.assert_array_equal(paths[:, 0], starts)
    np.testing.assert_array_equal(paths[:, 4], ends)
    np.testing.assert_allclose(paths[:, 2], (starts + ends) / 2, rtol=1e-6)
    np.testing.assert_allclose(np.diff(paths, 2, axis=1), 0.0, atol=1e-6)

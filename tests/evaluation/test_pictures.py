"""What stands where in pictures of samples, of completions and of codes."""

import numpy as np
import pytest

from tfgen.evaluation.pictures import (
    class_colour,
    completion_strip,
    image_grid,
    image_pairs,
    image_rows,
    principal_plane,
    scatter,
    straight_paths,
    traversals,
)

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


def test_pairs_stand_side_by_side():
    first = np.arange(7, dtype="uint8").reshape(7, 1, 1, 1)
    picture = image_pairs(first, first + 7.0, 14)
    for index in range(7):
        row, column = divmod(index, 2)  # two pairs a row
        assert (cell(picture, row, 2 * column) == np.round(255 * index / 13)).all()
        assert (cell(picture, row, 2 * column + 1) == np.round(255 * (index + 7) / 13)).all()
    assert (cell(picture, 3, 2) == GREY).all()


def test_traversals_change_one_dimension_each():
    code = np.arange(6.0).reshape(1, 2, 3)
    codes = traversals(code, np.array([4, 0]), np.array([-3.0, 0.0, 3.0]))
    assert codes.shape == (2, 3, 1, 2, 3)
    flat = codes.reshape(2, 3, 6)
    np.testing.assert_array_equal(flat[0, :, 4], [-3, 0, 3])
    np.testing.assert_array_equal(flat[1, :, 0], [-3, 0, 3])
    for row, dimension in enumerate((4, 0)):
        others = [d for d in range(6) if d != dimension]
        np.testing.assert_array_equal(flat[row][:, others], np.tile(others, (3, 1)))


def test_principal_plane_of_a_flat_cloud():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((5, 5)))[0][:2]
    inside = rng.standard_normal((200, 2)) * [3.0, 1.0]
    points, share = principal_plane(inside @ basis + 7.0)
    assert share == pytest.approx(1.0)
    assert points.std(axis=0)[0] > 2 * points.std(axis=0)[1]
    distances = [np.linalg.norm(p[:, None] - p[None], axis=-1) for p in (inside, points)]
    np.testing.assert_allclose(*distances, atol=1e-9)  # the plane is turned, not distorted
    np.testing.assert_allclose(np.cov(points.T)[0, 1], 0.0, atol=1e-9)
    same, share = principal_plane(inside)
    np.testing.assert_array_equal(same, inside)
    assert share == 1.0
    line, _ = principal_plane(inside[:, :1])
    np.testing.assert_array_equal(line, inside[:, :1] * [1.0, 0.0])


def test_scatter_puts_colours_where_the_points_are():
    points = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0]])
    picture = scatter(points, np.array([0, 2, 5]), side=111)
    # The square reaches 1.1 to all sides of the middle: a unit is 50 pixels.
    for (x, y), label in zip(points, (0, 2, 5), strict=True):
        row, column = round(110 - (y + 1.1) * 50), round((x + 1.1) * 50)
        assert (picture[row, column] == class_colour(label, 6)).all()
    assert (picture[5, 5] == 255).all()  # no point at the upper left
    assert (picture[55, 2] == GREY).all()
    assert (picture[2, 55] == GREY).all()
    assert len({class_colour(label, 10) for label in range(10)}) == 10
    keys = picture[:, 111 + 12]  # a patch of colour for each class, from the top
    for label in range(6):
        assert (keys[16 * label + 8] == class_colour(label, 6)).all()
    assert (scatter(points, None, side=111)[5, 105] == 0).all()

"""Samples as pictures."""

import colorsys
import io
import math
from typing import Any

import numpy as np

_WHITE, _GREY, _BLACK = 255, 128, 0


def picture(samples: Any, num_levels: int | None) -> np.ndarray | None:
    """An RGB picture `[H, W, 3]`, uint8: a grid of images, a density map of points in the plane.

    None for what has no picture: tables of more or fewer than two columns.
    """
    samples = np.asarray(samples)
    if samples.ndim == 4:
        return image_grid(samples, num_levels)
    if samples.ndim == 2 and samples.shape[1] == 2:
        return point_density(samples)
    return None


def image_grid(
    images: np.ndarray, num_levels: int | None, min_side: int = 56, columns: int | None = None
) -> np.ndarray:
    """`[N, H, W, C]` in data units as a grid, small images enlarged; by default nearly square."""
    if num_levels is None:
        low, high = float(images.min()), float(images.max())
        grey = (images - low) / max(high - low, 1e-12)
    else:
        grey = images / (num_levels - 1)
    grey = np.round(255 * grey).astype("uint8")
    if grey.shape[-1] == 1:
        grey = np.repeat(grey, 3, axis=-1)
    grey = grey[..., :3]
    zoom = max(1, round(min_side / grey.shape[1]))
    grey = grey.repeat(zoom, axis=1).repeat(zoom, axis=2)
    num, height, width, channels = grey.shape
    columns = int(np.ceil(np.sqrt(num))) if columns is None else columns
    rows = int(np.ceil(num / columns))
    gap = 2
    grid = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, channels), 128)
    for index, image in enumerate(grey):
        top = gap + index // columns * (height + gap)
        left = gap + index % columns * (width + gap)
        grid[top : top + height, left : left + width] = image
    return grid.astype("uint8")


def completion_strip(
    originals: np.ndarray, mask: np.ndarray, completions: np.ndarray, num_levels: int
) -> np.ndarray:
    """A row for each image: the original, what was kept of it on grey, and its completions.

    Args:
        originals: `[N, H, W, C]`, data units.
        mask: bool `[H, W]`, True where pixels were kept.
        completions: `[N, K, H, W, C]`.
        num_levels: of the data.
    """
    kept = np.where(mask[..., None], originals, (num_levels - 1) // 2)
    rows = np.concatenate([originals[:, None], kept[:, None], completions], axis=1)
    return image_rows(rows.astype(originals.dtype), num_levels)


def image_rows(rows: np.ndarray, num_levels: int | None) -> np.ndarray:
    """`[N, K, H, W, C]` in data units as N rows of K images."""
    return image_grid(rows.reshape(-1, *rows.shape[2:]), num_levels, columns=rows.shape[1])


def image_pairs(first: np.ndarray, second: np.ndarray, num_levels: int | None) -> np.ndarray:
    """Each image of `first`, `[N, H, W, C]`, with that of `second` at its right; about square."""
    both = np.stack([first, second], axis=1)
    columns = 2 * max(1, round(math.sqrt(len(first) / 2)))
    return image_grid(both.reshape(-1, *first.shape[1:]), num_levels, columns=columns)


def straight_paths(starts: np.ndarray, ends: np.ndarray, num_points: int) -> np.ndarray:
    """(1 - t) z_0 + t z_1 with t = 0, 1/(K-1), ..., 1: `[N, K, ...]` from two `[N, ...]` [1].

    [1] Kingma, Dhariwal. Glow: generative flow with invertible 1x1 convolutions. NeurIPS 2018.
        arXiv:1807.03039
    """
    t = np.linspace(0.0, 1.0, num_points).reshape(-1, *[1] * (starts.ndim - 1))
    return (1.0 - t) * starts[:, None] + t * ends[:, None]


def traversals(code: np.ndarray, dimensions: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`[D, K, ...]`: the code with one of its dimensions at each of K values, in turn.

    Args:
        code: of one example, any shape.
        dimensions: `[D]`, of the flattened code.
        values: `[K]`.
    """
    codes = np.tile(code.reshape(-1), (len(dimensions), len(values), 1))
    for row, dimension in enumerate(dimensions):
        codes[row, :, dimension] = values
    return codes.reshape(len(dimensions), len(values), *code.shape)


def principal_plane(points: np.ndarray) -> tuple[np.ndarray, float]:
    """The two principal components of points `[N, J]`, `[N, 2]`, and their share of the variance.

    Two-dimensional points are their own plane, and one-dimensional ones lie on its first axis.
    """
    num_dims = points.shape[1]
    if num_dims <= 2:
        return np.pad(points, ((0, 0), (0, 2 - num_dims))), 1.0
    centred = points - points.mean(axis=0)
    _, scales, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    axes = axes * np.sign(largest)  # a component's sign is anyone's choice
    return centred @ axes.T, float((scales[:2] ** 2).sum() / max((scales**2).sum(), 1e-300))


def class_colour(label: int, num_classes: int) -> tuple[int, int, int]:
    """RGB: hues all around, every other class darker."""
    rgb = colorsys.hsv_to_rgb(label / num_classes, 0.9, 0.95 if label % 2 == 0 else 0.6)
    return tuple(round(255 * value) for value in rgb)  # type: ignore[return-value]


def scatter(points: np.ndarray, labels: np.ndarray | None, side: int = 600) -> np.ndarray:
    """Points `[N, 2]` as small squares in the colours of their labels, with a key at the right.

    Both axes have the same scale; the first points right, the second up. Grey lines are the axes.
    """
    from PIL import Image, ImageDraw

    low, high = points.min(axis=0), points.max(axis=0)
    reach = max(0.55 * float((high - low).max()), 1e-6)
    corner = (low + high) / 2 - reach
    pixels_per_unit = (side - 1) / (2 * reach)

    def pixels(values: np.ndarray) -> np.ndarray:
        columns, heights = np.round((values - corner) * pixels_per_unit).astype(int).T
        return np.stack([side - 1 - heights, columns], axis=1)

    picture = np.full((side, side, 3), _WHITE, "uint8")
    row, column = pixels(np.zeros((1, 2)))[0]
    if 0 <= row < side:
        picture[row] = _GREY
    if 0 <= column < side:
        picture[:, column] = _GREY
    num_classes = 0 if labels is None else 1 + int(labels.max())
    for index, (row, column) in enumerate(pixels(points)):
        colour = _BLACK if labels is None else class_colour(int(labels[index]), num_classes)
        picture[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = colour
    if labels is None:
        return picture
    line = 16
    key = Image.new("RGB", (64, max(side, line * num_classes)), (_WHITE, _WHITE, _WHITE))
    draw = ImageDraw.Draw(key)
    for label in range(num_classes):
        top = line * label
        colour = class_colour(label, num_classes)
        draw.rectangle([8, top + 4, 17, top + 13], fill=colour)
        draw.text((24, top + 2), str(label), fill=(_BLACK, _BLACK, _BLACK))
    height = key.size[1]
    picture = np.pad(picture, ((0, height - side), (0, 0), (0, 0)), constant_values=_WHITE)
    return np.concatenate([picture, np.asarray(key)], axis=1)


def point_density(points: np.ndarray, side: int = 400) -> np.ndarray:
    """A 2-D histogram of points, dark where they are many; extreme points are cut off."""
    low, high = np.quantile(points, [0.002, 0.998], axis=0)
    margin = 0.1 * (high - low) + 1e-6
    bins = [np.linspace(low[d] - margin[d], high[d] + margin[d], side // 4 + 1) for d in (0, 1)]
    counts, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins)
    shade = np.sqrt(counts / max(counts.max(), 1.0)).T[::-1]
    shade = np.kron(shade, np.ones((4, 4)))
    return (255 * (1 - shade)).astype("uint8")[..., None].repeat(3, axis=-1)


def png(array: np.ndarray) -> bytes:
    """The picture as the bytes of a PNG file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()

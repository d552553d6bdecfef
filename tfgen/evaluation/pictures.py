"""Samples as pictures."""

import io
from typing import Any

import numpy as np


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


def straight_paths(starts: np.ndarray, ends: np.ndarray, num_points: int) -> np.ndarray:
    """(1 - t) z_0 + t z_1 with t = 0, 1/(K-1), ..., 1: `[N, K, ...]` from two `[N, ...]` [1].

    [1] Kingma, Dhariwal. Glow: generative flow with invertible 1x1 convolutions. NeurIPS 2018.
        arXiv:1807.03039
    """
    t = np.linspace(0.0, 1.0, num_points).reshape(-1, *[1] * (starts.ndim - 1))
    return (1.0 - t) * starts[:, None] + t * ends[:, None]


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

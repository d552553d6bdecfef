"""Reading image files, and the transforms that give all images of a set one shape."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfgen.checks import check_integer, check_one_of

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".jpeg", ".jpg", ".png")
CHANNELS = (None, 1, 3)
_MODES = {1: "L", 3: "RGB"}


def check_image_options(resize: int | None, center_crop: int | None, channels: int | None) -> None:
    """A ValueError unless the options are None or possible."""
    for name, value in (("resize", resize), ("center_crop", center_crop)):
        if value is not None:
            check_integer(name, value, 1)
    check_one_of("channels", channels, CHANNELS)


def list_images(folder: Path) -> list[Path]:
    """The PNG and JPEG files below `folder`, hidden ones apart, in the order of their paths.

    Raises:
        ValueError: there are none.
    """
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        raise ValueError(
            f"folder {str(folder)!r} must hold images ({', '.join(SUFFIXES)}), at any depth; "
            "there are none."
        )
    return found


def read_image(path: Path) -> Image.Image:
    """The grey ("L") or colour ("RGB") image in a file, turned as its EXIF orientation says.

    Raises:
        ValueError: unreadable, more than 8 bits a channel, or transparent; names the file.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=("PNG", "JPEG")) as file:
            file.load()
            image = ImageOps.exif_transpose(file)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{str(path)!r} must be a readable PNG or JPEG image; received: {error}."
        ) from error
    if image.mode[0] in "IF":
        raise ValueError(
            f"{str(path)!r} must have 8 bits a channel; received: Pillow mode {image.mode!r}."
        )
    if image.has_transparency_data:
        image = image.convert("RGBA" if image.mode != "LA" else "LA")
        if image.getchannel("A").getextrema()[0] < 255:
            raise ValueError(
                f"{str(path)!r} must be opaque, a density model has no use for transparency; "
                "received: transparent pixels."
            )
    return image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")


def transform_image(
    image: Image.Image,
    source: str,
    resize: int | None,
    center_crop: int | None,
    channels: int | None,
) -> np.ndarray:
    """uint8 `[H, W, C]`: first the centre crop, then the resize, then the change of channels.

    `resize` resamples the largest central square (bicubic with antialiasing), so it never distorts.
    """
    from PIL import Image

    if center_crop is not None:
        if min(image.size) < center_crop:
            raise ValueError(
                f"center_crop must be at most the image's sides; received: {center_crop} for "
                f"{source} with {image.height} x {image.width} pixels."
            )
        image = _central_square(image, center_crop)
    if resize is not None:
        image = _central_square(image, min(image.size))
        image = image.resize((resize, resize), Image.Resampling.BICUBIC)
    if channels is not None:
        image = image.convert(_MODES[channels])
    array = np.asarray(image)
    return array[..., None] if array.ndim == 2 else array


def _central_square(image: Image.Image, side: int) -> Image.Image:
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def describe_transforms(
    resize: int | None, center_crop: int | None, channels: int | None
) -> tuple[str, ...]:
    """What `transform_image` does, one sentence a step."""
    sentences = []
    if center_crop is not None:
        sentences.append(f"Central {center_crop} x {center_crop} pixels.")
    if resize is not None:
        sentences.append(
            f"Largest central square resampled to {resize} x {resize}, bicubic with antialiasing."
        )
    if channels is not None:
        sentences.append(
            "Converted to grey (ITU-R 601 luma)." if channels == 1 else "Converted to RGB."
        )
    return tuple(sentences)


def stack_images(images: Sequence[np.ndarray], sources: Sequence[str]) -> np.ndarray:
    """uint8 `[N, H, W, C]`.

    Raises:
        ValueError: two images differ in shape; the message names the first that differs.
    """
    first = images[0].shape
    for image, source in zip(images, sources, strict=True):
        if image.shape != first:
            raise ValueError(
                f"all images must have one shape, unless resize, center_crop or channels (1 or 3) "
                f"make them so; received: {sources[0]} of shape {first} and {source} of shape "
                f"{image.shape}."
            )
    return np.stack(images)

"""What a density model must beat: of images or audio independent values and lossless files, of
tables Gaussians and their mixtures."""

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tfgen.checks import check_argument, check_integer, check_one_of
from tfgen.data.audio import read_wav

_CODECS = {
    "png": {"format": "PNG", "optimize": True},
    "webp": {"format": "WEBP", "lossless": True, "method": 6, "quality": 100},
}
_MAX_SIDE = 16_383  # pixels, WebP's limit
_ROWS_AT_ONCE = 1024
_SMALLEST_EIGENVALUE = 1e-10  # of a correlation matrix; rounding leaves 1e-15 in place of 0
_NUM_COMPONENTS = (5, 20, 50)
_ROWS_A_COMPONENT = 10
_MAX_MIXTURE_ROWS = 20_000


def independent_pixels(
    train_x: np.ndarray, test_x: np.ndarray, num_levels: int
) -> dict[str, float]:
    """Bits/dim of a histogram for each position and channel, all independent.

        p(x) = prod_d (n_d(x_d) + 1) / (N + num_levels),

    n_d counting the values of dimension d in the N training examples: add-one (Laplace) smoothing,
    without which a value that training has not seen would cost infinitely many bits.

    Args:
        train_x: integers 0..num_levels-1, `[N, ...]`.
        test_x: integers of the same event shape, `[M, ...]`.
        num_levels: number of values.

    Returns:
        `bits_per_dim`, its `standard_error` over the test examples, `nats` per example and
        `num_examples`.

    Raises:
        ValueError: empty data, different shapes, or values out of range.
    """
    check_integer("num_levels", num_levels, 2)
    _check_levels("train_x", train_x, num_levels)
    _check_levels("test_x", test_x, num_levels)
    shape = train_x.shape[1:]
    check_argument(test_x.shape[1:] == shape, "test_x", f"of event shape {shape}", test_x.shape)
    num_dims = math.prod(shape)
    counts = np.zeros(num_dims * num_levels, np.int64)
    for cells in _cells(train_x, num_levels):
        counts += np.bincount(cells.ravel(), minlength=len(counts))
    bits_of_cell = np.log2(len(train_x) + num_levels) - np.log2(counts + 1)
    bits = np.concatenate([bits_of_cell[cells].sum(axis=1) for cells in _cells(test_x, num_levels)])
    return {**_summary(bits, num_dims), "nats": float(bits.mean() * math.log(2))}


def lossless_compression(x: np.ndarray, file_format: str) -> dict[str, float]:
    """Bits/dim of images stored without loss by Pillow, the raw levels as 8-bit pixels.

    `bits_per_dim` is one file an image, as images are stored; small images pay mostly for the
    file's header. `bits_per_dim_tiled` is all images side by side in one file (several where
    WebP's largest side, 16,383 pixels, is exceeded): one header, and the codec may learn from the
    other images, so it is generous to the codec.

    Args:
        x: uint8 `[N, H, W, C]` with C = 1 or 3.
        file_format: "png" (smallest of zlib's settings) or "webp" (lossless, slowest setting).

    Returns:
        `bits_per_dim`, its `standard_error` over the images, `bits_per_dim_tiled`, `num_examples`.

    Raises:
        ValueError: an unknown format, or data of another kind.
    """
    check_one_of("file_format", file_format, _CODECS)
    is_image = x.dtype == np.uint8 and x.ndim == 4 and x.shape[-1] in (1, 3) and x.size > 0
    allowed = "non-empty uint8 [N, H, W, C] with C = 1 or 3"
    check_argument(is_image, "x", allowed, f"{x.dtype} of shape {x.shape}")
    num_dims = math.prod(x.shape[1:])
    bits = np.array([8.0 * _file_bytes(image, file_format) for image in x])
    tiled_bits = sum(8.0 * _file_bytes(sheet, file_format) for sheet in _sheets(x))
    return {**_summary(bits, num_dims), "bits_per_dim_tiled": tiled_bits / x.size}


def independent_samples(
    train_x: np.ndarray, test_x: np.ndarray, num_levels: int
) -> dict[str, float]:
    """Bits a sample of one histogram for all times:

        p(x) = prod_t (n(x_t) + 1) / (N T + num_levels).

    n counts the values of all training samples; a chunk of audio begins anywhere, so that no time
    is special.

    Args:
        train_x: integers 0..num_levels-1, `[N, T]`.
        test_x: integers, `[M, T']`.
        num_levels: number of values.

    Returns:
        `bits_per_dim`, its `standard_error` over the test examples, `nats` per example and
        `num_examples`.

    Raises:
        ValueError: empty data, or values out of range.
    """
    check_integer("num_levels", num_levels, 2)
    _check_levels("train_x", train_x, num_levels)
    _check_levels("test_x", test_x, num_levels)
    counts = np.bincount(train_x.ravel(), minlength=num_levels) + 1
    bits = np.log2(counts.sum() / counts)[test_x].sum(axis=1)
    return {**_summary(bits, test_x.shape[1]), "nats": float(bits.mean() * math.log(2))}


def flac_compression(x: np.ndarray) -> dict[str, float]:
    """Bits a sample of 8-bit codes stored without loss as FLAC at its strongest compression.

    The codes, less 128, are stored as they are, as samples of 8 bits: for mu-law classes FLAC
    compresses the very sequence that a model of them describes. `bits_per_dim` is one file an
    example; short ones pay for the file's header. `bits_per_dim_joined` is all examples one after
    the other in one file: one header, kinder to the codec.

    Args:
        x: uint8 `[N, T]`.

    Returns:
        `bits_per_dim`, its `standard_error` over the examples, `bits_per_dim_joined`,
        `num_examples`.

    Raises:
        ValueError: data of another kind.
    """
    is_audio = x.dtype == np.uint8 and x.ndim == 2 and x.size > 0
    check_argument(is_audio, "x", "non-empty uint8 [N, T]", f"{x.dtype} of shape {x.shape}")
    # soundfile takes 16-bit samples and keeps their upper 8 bits.
    samples = (x.astype(np.int16) - 128) * 256
    bits = np.array([8.0 * len(_flac(chunk, "PCM_S8")) for chunk in samples])
    joined = 8.0 * len(_flac(samples.ravel(), "PCM_S8"))
    return {**_summary(bits, x.shape[1]), "bits_per_dim_joined": joined / x.size}


def flac_of_files(files: Iterable[Any]) -> dict[str, float]:
    """Bits a sample of whole 16-bit WAV files stored as FLAC at its strongest compression.

    Not to be compared with the likelihood of 8-bit mu-law classes, which say less about the sound.

    Raises:
        ValueError: no file, or one that is not mono with 16 bits.
    """
    contents = [read_wav(file)[0] for file in files]
    check_argument(len(contents) > 0, "files", "not empty", contents)
    num_bits = sum(8 * len(_flac(samples, "PCM_16")) for samples in contents)
    return {
        "bits_per_sample": num_bits / sum(len(samples) for samples in contents),
        "num_files": len(contents),
    }


def full_gaussian(train_x: np.ndarray, test_x: np.ndarray) -> dict[str, float]:
    """The Gaussian with the mean and the covariance (maximum likelihood) of the training set.

    Args:
        train_x: real numbers, `[N, D]`.
        test_x: real numbers, `[M, D]`.

    Returns:
        `nats`, the mean negative log-likelihood of the test rows, `log_likelihood`, its negative,
        the `standard_error` of both, and `num_examples`.

    Raises:
        ValueError: other shapes, or linearly dependent columns.
    """
    _check_tables(train_x, test_x)
    loc, scale = train_x.mean(axis=0, dtype=np.float64), train_x.std(axis=0, dtype=np.float64)
    check_argument((scale > 0).all(), "train_x", "without constant columns", "one")
    train, test = ((x - loc) / scale for x in (train_x, test_x))
    correlation = train.T @ train / len(train)
    independent = np.linalg.eigvalsh(correlation)[0] > _SMALLEST_EIGENVALUE
    check_argument(independent, "train_x", "of linearly independent columns", "dependent ones")
    factor = np.linalg.cholesky(correlation)
    z = np.linalg.solve(factor, test.T)
    log_volume = np.log(scale * np.diag(factor)).sum() + 0.5 * len(loc) * math.log(2 * math.pi)
    return _nats_summary(-0.5 * (z**2).sum(axis=0) - log_volume)


def gaussian_mixture(
    train_x: np.ndarray,
    validation_x: np.ndarray,
    test_x: np.ndarray,
    num_components: Sequence[int] = _NUM_COMPONENTS,
    seed: int = 0,
) -> dict[str, float]:
    """scikit-learn's mixture of Gaussians with full covariances; validation chooses their number.

    Columns are standardised for the fit, which adds 1e-6 to every variance, and the likelihood is
    given in the units of the data. At most 20,000 training rows are used, drawn with `seed`, and
    at most one component for 10 rows.

    Args:
        train_x: real numbers, `[N, D]`.
        validation_x: real numbers, `[V, D]`.
        test_x: real numbers, `[M, D]`.
        num_components: the numbers to choose from.
        seed: of the rows and of the initial components.

    Returns:
        `num_components` chosen, and the entries of `full_gaussian`.

    Raises:
        ValueError: other shapes, or fewer rows than the smallest number of components needs.
    """
    from sklearn.mixture import GaussianMixture

    _check_tables(train_x, test_x)
    _check_tables(train_x, validation_x, "validation_x")
    loc, scale = train_x.mean(axis=0, dtype=np.float64), train_x.std(axis=0, dtype=np.float64)
    train, validation, test = ((x - loc) / scale for x in (train_x, validation_x, test_x))
    train = train[np.random.RandomState(seed).permutation(len(train))[:_MAX_MIXTURE_ROWS]]
    allowed = [k for k in num_components if _ROWS_A_COMPONENT * k <= len(train)]
    least = f"{_ROWS_A_COMPONENT * min(num_components)} rows at least"
    check_argument(allowed, "train_x", least, f"{len(train)} rows")
    fitted = [GaussianMixture(k, random_state=seed).fit(train) for k in allowed]
    best = max(fitted, key=lambda mixture: mixture.score(validation))
    log_prob = best.score_samples(test) - np.log(scale).sum()
    return {"num_components": best.n_components, **_nats_summary(log_prob)}


def _check_tables(train_x: np.ndarray, x: np.ndarray, name: str = "test_x") -> None:
    for argument, values in (("train_x", train_x), (name, x)):
        is_table = values.ndim == 2 and np.issubdtype(values.dtype, np.floating) and len(values) > 0
        received = f"{values.dtype} of shape {values.shape}"
        check_argument(is_table, argument, "non-empty real numbers [N, D]", received)
    size = train_x.shape[1]
    check_argument(x.shape[1] == size, name, f"of {size} columns", x.shape)


def _nats_summary(log_prob: np.ndarray) -> dict[str, float]:
    deviation = log_prob.std(ddof=1) if len(log_prob) > 1 else math.nan
    return {
        "nats": float(-log_prob.mean()),
        "log_likelihood": float(log_prob.mean()),
        "standard_error": float(deviation / math.sqrt(len(log_prob))),
        "num_examples": len(log_prob),
    }


def _flac(samples: np.ndarray, subtype: str) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    # The sample rate stands in the header only.
    soundfile.write(buffer, samples, 8000, format="FLAC", subtype=subtype, compression_level=1.0)
    return buffer.getvalue()


def _summary(bits: np.ndarray, num_dims: int) -> dict[str, float]:
    """Mean and standard error of bits per example, in bits/dim."""
    deviation = bits.std(ddof=1) if len(bits) > 1 else math.nan
    return {
        "bits_per_dim": float(bits.mean() / num_dims),
        "standard_error": float(deviation / math.sqrt(len(bits)) / num_dims),
        "num_examples": len(bits),
    }


def _check_levels(name: str, x: np.ndarray, num_levels: int) -> None:
    is_discrete = np.issubdtype(x.dtype, np.integer) and x.size > 0
    received = f"{x.dtype} of shape {x.shape}"
    if is_discrete:
        low, high = int(x.min()), int(x.max())
        is_discrete = low >= 0 and high < num_levels
        received = f"values {low}..{high}"
    check_argument(is_discrete, name, f"integers 0..{num_levels - 1}, not empty", received)


def _cells(x: np.ndarray, num_levels: int) -> Iterator[np.ndarray]:
    """Indices d * num_levels + x_d, `[rows, D]`, a block of rows at a time."""
    first_cell = np.arange(math.prod(x.shape[1:])) * num_levels
    for start in range(0, len(x), _ROWS_AT_ONCE):
        block = x[start : start + _ROWS_AT_ONCE]
        yield block.reshape(len(block), -1) + first_cell


def _file_bytes(image: np.ndarray, file_format: str) -> int:
    from PIL import Image

    buffer = io.BytesIO()
    pixels = image[..., 0] if image.shape[-1] == 1 else image
    Image.fromarray(pixels).save(buffer, **_CODECS[file_format])
    return buffer.getbuffer().nbytes


def _sheets(x: np.ndarray) -> Iterator[np.ndarray]:
    """Nearly square sheets of the images side by side; empty places are 0."""
    num, height, width, channels = x.shape
    columns = min(math.ceil(math.sqrt(num)), _MAX_SIDE // width)
    rows_at_most = _MAX_SIDE // height
    for start in range(0, num, columns * rows_at_most):
        images = x[start : start + columns * rows_at_most]
        rows = math.ceil(len(images) / columns)
        sheet = np.zeros((rows * columns, height, width, channels), np.uint8)
        sheet[: len(images)] = images
        sheet = sheet.reshape(rows, columns, height, width, channels)
        yield sheet.swapaxes(1, 2).reshape(rows * height, columns * width, channels)

"""How well codes, learned without labels, tell classes apart."""

from typing import Any

import numpy as np

from tfgen.checks import check_argument, check_integer
from tfgen.evaluation.codes import posterior_means

_SEED = 0
_NUM_STARTS = 10  # of k-means
_MAX_ITERATIONS = 1000  # of the logistic regression


def representation(
    model: Any,
    split: Any,
    train: Any,
    num_neighbors: int = 5,
    batch_size: int = 256,
    jit_compile: bool = True,
) -> dict[str, float]:
    """Accuracy of three simple classifiers of the posterior means, as in [1].

    Each learns from the training split's codes and is tested on `split`'s. Codes are used as they
    are, in units of the latents.

    - k-means with as many clusters as classes; each cluster stands for one class, in the one-to-one
      assignment with the most training examples right (found by the Hungarian algorithm);
    - the vote of the nearest neighbours;
    - logistic regression (scikit-learn's penalty, C = 1), the linear probe.

    Args:
        model: a latent-variable model that is not conditional: codes of a conditional one need not
            hold what they are told.
        split: labelled examples to test on.
        train: labelled examples to learn from.
        num_neighbors: of the vote.
        batch_size: examples at a time.
        jit_compile: compile with XLA.

    Returns:
        `k_means_accuracy`, `nearest_neighbors_accuracy` and `linear_probe_accuracy`, from 0 to 1.

    Raises:
        ValueError: another model, or examples without labels.

    [1] Ma, Zhou, Hovy. MAE: mutual posterior-divergence regularization for variational
        autoencoders. ICLR 2019. arXiv:1901.01498
    """
    from sklearn.cluster import KMeans
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    check_integer("num_neighbors", num_neighbors, 1)
    is_unconditional = not getattr(model, "is_conditional", False)
    check_argument(is_unconditional, "model", "one that is not conditional", type(model).__name__)
    for name, part in (("split", split), ("train", train)):
        check_argument(part.y is not None, name, "labelled", "examples without labels")
    codes = posterior_means(model, split, batch_size, jit_compile)
    train_codes = posterior_means(model, train, batch_size, jit_compile)

    num_classes = 1 + int(max(split.y.max(), train.y.max()))
    k_means = KMeans(num_classes, n_init=_NUM_STARTS, random_state=_SEED).fit(train_codes)
    classes = classes_of_clusters(k_means.labels_, train.y, num_classes)
    neighbors = KNeighborsClassifier(num_neighbors).fit(train_codes, train.y)
    probe = LogisticRegression(max_iter=_MAX_ITERATIONS).fit(train_codes, train.y)
    predictions = {
        "k_means_accuracy": classes[k_means.predict(codes)],
        "nearest_neighbors_accuracy": neighbors.predict(codes),
        "linear_probe_accuracy": probe.predict(codes),
    }
    return {name: float((predicted == split.y).mean()) for name, predicted in predictions.items()}


def classes_of_clusters(clusters: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """The class of each cluster, `[num_classes]`: the one-to-one assignment that makes the most
    examples right.

    Args:
        clusters: of each example, integers 0..num_classes-1.
        labels: of each example, likewise.
        num_classes: of classes and of clusters.
    """
    from scipy.optimize import linear_sum_assignment

    counts = np.zeros((num_classes, num_classes), int)
    np.add.at(counts, (clusters, labels), 1)
    return linear_sum_assignment(counts, maximize=True)[1]

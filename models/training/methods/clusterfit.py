"""ClusterFit: a network trained from scratch on clusters of another's features. Source: arXiv 1912.03330.

The teacher is the pretrained network; its features (the input of its last linear layer) of the training images, not
augmented, are clustered once, and the clusters are the classes. Preparation, iterations and sizes as in the authors'
reference implementation.
"""

from __future__ import annotations

from typing import Annotated

import torch
from msgspec import Meta, Struct
from torch import Tensor, nn

from adroit.models.training.methods.base import Teacher, TrainingMethod
from adroit.models.training.methods.clusters import Algorithm, cluster_centers, nearest_center, normalized_features
from adroit.models.training.methods.features import features_of, required_teacher, teacher_batches
from adroit.models.training.methods.wrapped_task import WrappedTask
from adroit.models.training.tables import Recipe
from adroit.models.training.tasks import Task, device_of
from adroit.validation import Count, PositiveInt


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """The table [clusterfit].

    Attributes:
        clusters: K, the network's number of classes. (Reference: 16,000 on ImageNet.)
        iterations: of k-means, at most.
        algorithm: "lloyd" (all features in each iteration) or "minibatch".
        components: the features are first reduced to so many by PCA; 0 does not (the reference's default).
    """

    clusters: Annotated[int, Meta(ge=2)] = 16000
    iterations: PositiveInt = 50
    algorithm: Algorithm = "lloyd"
    components: Count = 0


class PseudoLabels(WrappedTask):
    """The inner task's images with clusters [N] int64 as classes; `held_out_clusters` are the held-out images'."""

    measure = "of the images held out are assigned to their cluster"

    def __init__(self, task: Task, clusters: Tensor, held_out_clusters: Tensor, count: int) -> None:
        super().__init__(task, [f"cluster {i}" for i in range(count)])
        self.clusters, self.held_out_clusters = clusters, held_out_clusters

    def sample(self, index: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Returns an augmented image and its cluster; see Task.sample."""
        x, _ = self.inner.sample(index, generator)
        return x, self.clusters[index]

    def evaluate(self, network: nn.Module) -> float:
        """Share of the held-out images whose largest logit is their cluster."""
        network.eval()
        device = device_of(network)
        with torch.inference_mode():
            predictions = torch.cat([network(x.to(device)).argmax(1).cpu() for x in self.held_out()])
        return float((predictions == self.held_out_clusters).double().mean())


class ClusterFit(TrainingMethod):
    """See PseudoLabels."""

    @classmethod
    def task(cls, settings: Settings, task: Task, recipe: Recipe, teacher: Teacher | None) -> Task:
        """Clusters the teacher's features of all images."""
        teacher = required_teacher(teacher, "clusterfit", "the pretrained network whose features are clustered")
        name, inputs = teacher.config.architecture, (task.training_inputs(), task.held_out())
        training, held_out = (
            normalized_features(features_of(teacher.network, teacher_batches(x, task, teacher), name)) for x in inputs
        )
        training, held_out = reduced(training, held_out, settings.components, recipe.seed)
        centers = cluster_centers(training, settings.clusters, recipe.seed, settings.iterations, settings.algorithm)
        return PseudoLabels(task, nearest_center(training, centers), nearest_center(held_out, centers), len(centers))


def reduced(training: Tensor, held_out: Tensor, components: int, seed: int) -> tuple[Tensor, Tensor]:
    """Features [N,D] and [M,D] by the principal components of the first; as they are where `components` is 0."""
    if not components:
        return training, held_out
    from sklearn.decomposition import PCA

    from adroit.errors import UsageError

    if components > min(training.shape):
        raise UsageError(f"{list(training.shape)} features have no {components} principal components")
    pca = PCA(components, random_state=seed).fit(training.numpy())
    first, second = (torch.from_numpy(pca.transform(x.numpy())).float() for x in (training, held_out))
    return first, second


METHOD = ClusterFit

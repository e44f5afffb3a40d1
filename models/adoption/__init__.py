"""Networks that use public code's own classes of these layers: their modules become adroit's, with their weights."""

from adroit.models.adoption.adoption import Adopted, Adoption, Left, adopt
from adroit.models.adoption.l1_distances import L1Distance, find_l1_distances

__all__ = ["Adopted", "Adoption", "L1Distance", "Left", "adopt", "find_l1_distances"]

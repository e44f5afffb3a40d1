"""Training methods: one module each, named as its table in a recipe (see models/training/__init__.py)."""

# A method joins by its module's name here.
METHODS: tuple[str, ...] = (
    "perceptual_loss",
    "self_regulation",
    "rotnet",
    "clusterfit",
    "bownet",
    "adversarial_training",
    "igam",
    "robustness",
)

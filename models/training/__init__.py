"""Training from a recipe file.

One recipe is one training and ends in one checkpoint. What takes several phases is several recipes, each
given the checkpoint before it: `teacher` (learnt from, unchanged) or `[initial]` (weights to begin with).

    adroit train cifar10-rotnet-small -o rotnet
    adroit train cifar10-clusterfit-small --teacher rotnet -o clusterfit
    adroit train cifar10-logits-small --initial clusterfit -o probe

How a method joins
------------------
1. `models/training/methods/<name>.py` holds `Settings`, a frozen msgspec struct with `forbid_unknown_fields`
   (src/adroit/validation.py has types of limited numbers), and `METHOD`, a subclass of
   `adroit.models.training.methods.base.TrainingMethod`. Losses that stand alone are functions in `models/losses/`.
2. `<name>` is added to `METHODS` in models/training/methods/__init__.py. A recipe then may have the table `[<name>]`:
   it is built into `Settings`, and a wrong field is refused with its place (`<name>.<field>`). The table's
   presence switches the method on; several may stand in one recipe.
3. The loop (assembly.py, loop.py, stepper.py, step.py) does, for the methods in the order of METHODS:
   `task` (wraps data and targets), network built and given `[initial]` weights, `METHOD(settings, setup)`
   (hooks, heads), parameters of heads join the optimizer; each step: `inputs`, the network's forward and
   the learner's loss (unless `replaces_loss`), plus every `loss`, backward, the optimizer, `after_step`;
   at the end `figures`, then `finish`, and the checkpoint is written.
4. Randomness: draw from torch's global generator in training (it is saved for `--resume`), and from
   `sample`'s own generator in a task. What is computed once at the start (features, clusters) must follow
   from the recipe, its seed and the teacher alone: a resumed training computes it again.
5. State for `--resume`: the module's `state_dict` and its `optimizers()`. Numbers that change belong in
   buffers. Everything runs on several processes and under autocast: use `x.device`, and compute in
   float32 what needs it.

`teacher`: `setup.teacher` (network and config), or None: raise UsageError where the method needs one.
`[initial] checkpoint, head ("new" or "kept"), trainable ("all" or "head")`: initial.py. "head" freezes the rest
in evaluation mode: a linear probe, or a new logit layer on a frozen teacher. The head is every tensor whose
shape follows the number of classes (`head_tensors(architecture, arguments)`).

A task (tasks/) has `sample(index, generator) -> (x, y)`, `training_inputs()` (all of them, not augmented, in
order), `held_out()`, `evaluate`, `check_classes`. y is int64 classes, or float32 shares of classes ([K]).
"""

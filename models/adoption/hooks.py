"""Hooks of a module: those of its calls move to what replaces it."""

from __future__ import annotations

from torch import nn

# What torch.nn.Module keeps of hooks on its calls and gradients. The dictionaries themselves move, so that handles
# that the user holds still remove their hooks.
_CALLS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)
_FULL_BACKWARD = "_is_full_backward_hook"


def copy_hooks(source: nn.Module, target: nn.Module) -> None:
    """Gives `target` the hooks that `source` has on its calls and gradients."""
    for name in (*_CALLS, _FULL_BACKWARD):
        target.__dict__[name] = source.__dict__[name]


def remove_hooks(module: nn.Module) -> None:
    """Removes every hook on calls and gradients from `module` and the modules in it."""
    for each in module.modules():
        for name in _CALLS:
            each.__dict__[name] = type(each.__dict__[name])()


def hooked_submodules(module: nn.Module) -> list[str]:
    """Paths of the modules inside `module` that have hooks on their calls or gradients."""
    return [path for path, each in module.named_modules() if path and any(each.__dict__[name] for name in _CALLS)]

"""Packages that are broken, or that bring what is there already: each is named and left out, and the rest works."""

from __future__ import annotations

from pathlib import Path

import pytest

import adroit as public
from adroit.errors import UsageError
from adroit.models.checkpoints.importers import layout_of
from adroit.models.networks.architectures import ARCHITECTURES, build_network
from adroit.models.training.recipe import read_recipe
from tests.conftest import Adroit
from tests.extensions.conftest import CODE, Install

# What a package's module says, and what of it the fault names.
FAULTY = {
    "cannot be imported": ("import no_such_module", "No module named 'no_such_module'"),
    "exits": ("raise SystemExit('bye')", "SystemExit: bye"),
    "has no such object": ("", "has no attribute 'architecture'"),
    "raises when it is called": ("def architecture(): 1 / 0", "ZeroDivisionError"),
    "gives something else": ("architecture = [3]", "it gives int, not adroit.models.networks.architectures"),
    "gives nothing": ("architecture = None", "TypeError"),
    "gives a wrong size": (CODE.replace("(16, 16)", "(16, '16')"), "input_size must be two whole numbers"),
    "gives a wrong preprocessing": (CODE.replace("Preprocessing()", "{}"), "preprocessing a Preprocessing"),
    "gives a path for a name": (CODE.replace("Architecture(NAME", "Architecture('a/b'"), "'a/b' is no name"),
    "gives a factory for a name": (CODE.replace("Architecture(NAME", "Architecture('a:b'"), "'a:b' is no name"),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_a_broken_package_is_named_and_the_others_stay(fault: str, install: Install, adroit: Adroit) -> None:
    code, reason = FAULTY[fault]
    install("broken-package", "broken", code)
    install("tiny-package", "tiny")
    listed = adroit("list", "networks")
    assert listed.code == 0 and listed.out.splitlines() == [*ARCHITECTURES, "tiny"]
    (line,) = listed.err.splitlines()
    assert line.startswith("warning: left out: package broken-package, entry point networks = broken_package:")
    assert reason in line
    assert public.create_network("tiny") is not None
    with pytest.raises(UsageError, match="there is no architecture named 'broken'") as caught:
        public.create_network("broken")
    assert "package broken-package" in str(caught.value)


def test_a_name_of_adroits_own_stays_adroits(install: Install) -> None:
    install("rude-package", "wide-resnet")
    with pytest.warns(UserWarning, match="'wide-resnet' is in two packages: adroit-deploy and rude-package"):
        assert public.list_networks() == list(ARCHITECTURES)
    assert type(build_network("wide-resnet", {"depth": 10, "widen": 1})).__name__ == "WideResNet"


def test_a_name_that_two_packages_bring_is_neithers(install: Install) -> None:
    install("first-package", "same")
    install("second-package", "same")
    both = "'same.*' is in two packages: first-package and second-package"
    with pytest.warns(UserWarning, match=both):
        assert "same" not in public.list_networks()
    with pytest.warns(UserWarning, match=both):
        assert "same-digits" not in public.list_recipes()
    for look_up in (public.create_network, layout_of, lambda name: read_recipe(f"{name}-digits")):
        with pytest.raises(UsageError, match=both):
            look_up("same")


def test_a_network_that_cannot_be_built_is_the_packages_fault(install: Install) -> None:
    install("odd-package", "odd", CODE.replace("from torch import nn", "1 / 0"))
    with pytest.raises(UsageError, match="odd cannot be called") as caught:
        public.create_network("odd")
    assert "ZeroDivisionError" in str(caught.value) and "1 / 0" in str(caught.value)


def test_recipes_may_be_in_any_folder(install: Install, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "mine.toml").write_text("no recipe")
    points = "[adroit.recipes]\nhere = path_package:FOLDER\nempty = path_package:EMPTY\n"
    install("path-package", "path", f"FOLDER, EMPTY = {str(tmp_path / 'plain')!r}, {str(tmp_path)!r}", points)
    with pytest.warns(UserWarning, match="entry point empty.*there are no TOML files in"):
        assert public.list_recipes()[-1] == "mine"
    with pytest.raises(UsageError, match="mine is not TOML"):
        read_recipe("mine")
    with pytest.raises(UsageError, match="cannot read recipe mime") as caught:
        read_recipe("mime")
    assert "mine" in str(caught.value) and "path-package" in str(caught.value)

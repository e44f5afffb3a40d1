"""Files for TLS that cannot be used: exit code 2 with one error, before anything listens, and no question asked."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from adroit.deploy.serve.options import Security
from adroit.deploy.serve.tls import check_tls
from adroit.errors import UsageError
from tests.conftest import Adroit


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of key.pem and certificate.pem, which belong together, other.pem, and encrypted.pem."""
    folder = tmp_path_factory.mktemp("pem")
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed: it makes the keys of these tests")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, check=True)

    for name in ("key", "other"):
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", f"{name}.pem")
    openssl("req", "-x509", "-key", "key.pem", "-subj", "/CN=localhost", "-days", "1", "-out", "certificate.pem")
    openssl("pkey", "-in", "key.pem", "-aes128", "-passout", "pass:secret", "-out", "encrypted.pem")
    (folder / "both.pem").write_bytes((folder / "certificate.pem").read_bytes() + (folder / "key.pem").read_bytes())
    (folder / "folder").mkdir()
    (folder / "text.pem").write_text("hello\n")
    (folder / "empty.pem").touch()
    (folder / "cut.pem").write_text((folder / "key.pem").read_text()[:100])
    (folder / "loop.pem").symlink_to("loop.pem")
    (folder / "key.der").write_bytes(b"\x30\x82\x01\x00" + bytes(256))
    return folder


@pytest.mark.parametrize(("certificate", "key"), [("certificate.pem", "key.pem"), ("both.pem", "both.pem")])
def test_a_certificate_and_its_key_are_taken(certificate: str, key: str, pem: Path) -> None:
    check_tls(Security(certificate=pem / certificate, key=pem / key))


def test_without_either_there_is_nothing_to_check() -> None:
    check_tls(Security())


WRONG = {
    "certificate missing": ("none.pem", "key.pem", "cannot read the certificate {0}", "openssl req"),
    "key missing": ("certificate.pem", "none.pem", "cannot read the key {1}", "openssl req"),
    "certificate a folder": ("folder", "key.pem", "the certificate {0} is no file", "PEM"),
    "key a folder": ("certificate.pem", "folder", "the key {1} is no file", "PEM"),
    "certificate unreadable": ("loop.pem", "key.pem", "cannot read the certificate {0}", "may read"),
    "key unreadable": ("certificate.pem", "loop.pem", "cannot read the key {1}", "may read"),
    "key behind a file": ("certificate.pem", "text.pem/key.pem", "cannot read the key {1}", "may read"),
    "a name too long": ("certificate.pem", "k" * 300, "cannot read the key {1}", "may read"),
    "key encrypted": ("certificate.pem", "encrypted.pem", "the key {1} is encrypted", "openssl pkey"),
    "key of another": ("certificate.pem", "other.pem", "the key {1} is not that of the certificate {0}", "key"),
    "certificate no PEM": ("text.pem", "key.pem", "{0} holds no certificate", "PEM"),
    "certificate empty": ("empty.pem", "key.pem", "{0} holds no certificate", "PEM"),
    "key no PEM": ("certificate.pem", "text.pem", "{1} holds no key", "PEM"),
    "key empty": ("certificate.pem", "empty.pem", "{1} holds no key", "PEM"),
    "key cut short": ("certificate.pem", "cut.pem", "{1} holds no key", "PEM"),
    "key in DER": ("certificate.pem", "key.der", "{1} holds no key", "PEM"),
    "files exchanged": ("key.pem", "certificate.pem", "{0} holds no certificate", "PEM"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_files_that_cannot_be_used_are_one_error_with_a_hint(fault: str, pem: Path) -> None:
    certificate, key, message, hint = WRONG[fault]
    with pytest.raises(UsageError) as caught:
        check_tls(Security(certificate=pem / certificate, key=pem / key))
    assert caught.value.message.startswith(message.format(pem / certificate, pem / key))
    assert caught.value.hint is not None and hint in caught.value.hint


@pytest.mark.parametrize("key", ["encrypted.pem", "other.pem"])
def test_the_command_ends_before_it_listens_and_asks_for_no_pass_phrase(key: str, pem: Path, adroit: Adroit) -> None:
    (pem / "model").mkdir(exist_ok=True)  # a repository, of which nothing is read
    result = adroit(
        "serve", pem, "--certificate", pem / "certificate.pem", "--key", pem / key,
        "--http-port", 0, "--grpc-port", 0, "--metrics-port", 0, alone=True,
    )  # fmt: skip
    assert result.code == 2 and result.out == "", result.err
    assert "hint: " in result.err and "Traceback" not in result.err and "PEM pass phrase" not in result.err

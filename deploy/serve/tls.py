"""The files of an encrypted server, checked before anything listens."""

from __future__ import annotations

import ssl
from pathlib import Path

from adroit.deploy.serve.options import Security
from adroit.errors import UsageError

_NEW = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out certificate.pem makes a pair to try with"


def check_tls(security: Security) -> None:
    """Check that the certificate and its key can be served with; without either there is nothing to check.

    Raises:
        UsageError: a file that is missing, no file, unreadable or no PEM; a key that is encrypted, or that is not
            the certificate's.
    """
    certificate, key = security.certificate, security.key
    if certificate is None or key is None:
        return
    _check_readable(certificate, "certificate")
    _check_readable(key, "key")
    asked: list[bool] = []

    def passphrase() -> str:
        asked.append(True)
        return ""

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, passphrase)
    except (ssl.SSLError, ValueError) as error:
        if asked:
            raise UsageError(
                f"the key {key} is encrypted",
                hint="a server starts without a pass phrase: give a key that has none"
                f" (`openssl pkey -in {key} -out PLAIN.pem`), which its owner alone may read",
            ) from error
        raise _unusable(certificate, key, error) from error


def _check_readable(path: Path, what: str) -> None:
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"the {what} {path} is no file", hint="give a file in PEM form")
        with open(path, "rb"):
            pass
    except OSError as error:
        raise UsageError(
            f"cannot read the {what} {path}",
            facts={"reason": error.strerror or error},
            hint=_NEW if isinstance(error, FileNotFoundError) else f"give a {what} that this user may read",
        ) from error


def _unusable(certificate: Path, key: Path, error: ssl.SSLError | ValueError) -> UsageError:
    """Make the error of files that OpenSSL refuses."""
    reason = getattr(error, "reason", None) or str(error)
    if reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
        return UsageError(
            f"the key {key} is not that of the certificate {certificate}",
            hint="give the key that the certificate was requested with; where the file holds a chain, the server's own"
            " certificate comes first in it",
        )
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certificate)
        wrong, what = key, "key"
    except (ssl.SSLError, ValueError):
        wrong, what = certificate, "certificate"
    return UsageError(
        f"{wrong} holds no {what} that can be used",
        facts={"reason": reason},
        hint=f"give a {what} in PEM form, text that has a line -----BEGIN ...-----",
    )

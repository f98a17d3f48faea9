"""Filters that find the certificates to create, so that most runs need no task for them."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization


def authority_is_good(directory: str, renewal_days: int) -> bool:
    """Whether the folder has an authority, ca.pem with its ca.key, that lasts for `renewal_days`."""
    certificate = _certificate(Path(directory, "ca.pem"))
    return _lasts(certificate, renewal_days) and _has_key(directory, certificate)


def has_key_of(directory: str, certificate: str) -> bool:
    """Whether the folder's ca.key is the key of a certificate (PEM text). Not for a text that is none."""
    try:
        return _has_key(directory, x509.load_pem_x509_certificate(certificate.encode()))
    except ValueError:
        return False


def lacking(directory: str, names: Mapping[str, Sequence[str]], renewal_days: int) -> list[str]:
    """Hosts without a valid certificate in the folder; `names`: host -> its names (`DNS:..`, `IP:..`).

    A valid certificate is signed by the folder's ca.pem, has exactly these names and the host's key, and
    does not expire within `renewal_days`.
    """
    authority = _certificate(Path(directory, "ca.pem"))
    return [
        host
        for host, wanted in names.items()
        if not _is_good(Path(directory, host), authority, wanted, renewal_days)
    ]


def _is_good(
    stem: Path, authority: x509.Certificate | None, wanted: Sequence[str], renewal_days: int
) -> bool:
    certificate, key = _certificate(Path(f"{stem}.pem")), Path(f"{stem}.key")
    if authority is None or certificate is None or not key.exists() or not _lasts(certificate, renewal_days):
        return False
    try:
        certificate.verify_directly_issued_by(authority)
        private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    except (InvalidSignature, ValueError):
        return False
    same_key = private.public_key() == certificate.public_key()
    return same_key and _names(certificate) == {_name(name) for name in wanted}


def _has_key(directory: str, certificate: x509.Certificate | None) -> bool:
    try:
        key = serialization.load_pem_private_key(Path(directory, "ca.key").read_bytes(), password=None)
    except (FileNotFoundError, ValueError):
        return False
    return certificate is not None and key.public_key() == certificate.public_key()


def _certificate(path: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _lasts(certificate: x509.Certificate | None, days: int) -> bool:
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    return certificate is not None and certificate.not_valid_after_utc > until


def _names(certificate: x509.Certificate) -> set[tuple[str, str]]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    dns = {("DNS", name) for name in extension.get_values_for_type(x509.DNSName)}
    return dns | {("IP", str(address)) for address in extension.get_values_for_type(x509.IPAddress)}


def _name(text: str) -> tuple[str, str]:
    kind, _, value = text.partition(":")
    return kind, str(ipaddress.ip_address(value)) if kind == "IP" else value


class FilterModule:
    """The class that Ansible loads."""

    def filters(self) -> dict[str, Any]:
        """The filters, by their names in templates."""
        return {
            "pki_authority_is_good": authority_is_good,
            "pki_has_key_of": has_key_of,
            "pki_lacking": lacking,
        }

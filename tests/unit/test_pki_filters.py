"""Which authority the role pki keeps, creates again, or refuses."""

from __future__ import annotations

import datetime
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.unit.rendering import ROLES

MODULE = "community.crypto.x509_certificate"


@pytest.fixture(scope="module")
def filters() -> ModuleType:
    """The plugin file, loaded by its path as Ansible does."""
    file = ROLES / "pki" / "filter_plugins" / "pki.py"
    spec = importlib.util.spec_from_file_location("pki_filters", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def new_key(folder: Path) -> ec.EllipticCurvePrivateKey:
    """A key, which the folder then has."""
    key = ec.generate_private_key(ec.SECP256R1())
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "ca.key").write_bytes(text)
    return key


def new_certificate(folder: Path, key: ec.EllipticCurvePrivateKey, days: int = 100) -> str:
    """A certificate of the key (PEM text), which the folder then has."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    text = made.public_bytes(serialization.Encoding.PEM)
    (folder / "ca.pem").write_bytes(text)
    return text.decode()


def test_an_authority_is_kept_until_it_expires_soon(filters: ModuleType, tmp_path: Path) -> None:
    new_certificate(tmp_path, new_key(tmp_path))
    assert filters.authority_is_good(str(tmp_path), 30)
    assert not filters.authority_is_good(str(tmp_path), 101)


def test_a_certificate_of_another_key_is_no_authority(filters: ModuleType, tmp_path: Path) -> None:
    new_certificate(tmp_path, new_key(tmp_path))
    new_key(tmp_path)
    assert not filters.authority_is_good(str(tmp_path), 30)


def test_hosts_keep_an_authority_whose_certificate_is_renewed(filters: ModuleType, tmp_path: Path) -> None:
    key = new_key(tmp_path)
    trusted = new_certificate(tmp_path, key)
    new_certificate(tmp_path, key, days=3650)
    assert filters.has_key_of(str(tmp_path), trusted)


def test_hosts_do_not_change_to_another_authority(filters: ModuleType, tmp_path: Path) -> None:
    trusted = new_certificate(tmp_path, new_key(tmp_path))
    (tmp_path / "ca.key").unlink()
    assert not filters.has_key_of(str(tmp_path), trusted)
    new_key(tmp_path)
    assert not filters.has_key_of(str(tmp_path), trusted)
    assert not filters.has_key_of(str(tmp_path), "no certificate")


@pytest.mark.parametrize(
    ("file", "option"), [("authority", "selfsigned_not_before"), ("certificate", "ownca_not_before")]
)
def test_a_certificate_is_valid_when_the_clock_is_set_back(file: str, option: str) -> None:
    (block,) = [
        entry for entry in yaml.safe_load((ROLES / f"pki/tasks/{file}.yml").read_text()) if "block" in entry
    ]
    (options,) = [task[MODULE] for task in block["block"] if MODULE in task]
    assert options[option] == "-1d"

"""The health check of a broker as a process: the broker answers, freezes, returns, and loses its peers."""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from labctl.paths import ROOT

PROGRAM = ROOT / "roles" / "broker_check" / "files" / "lab-broker-check"
CONNECTION_START = b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x0a\xce"
PATIENCE = 0.5


def make_certificate(folder: Path) -> None:
    """ca.pem, host.pem and host.key for 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker-1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    text = certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "ca.pem").write_bytes(text)
    (folder / "host.pem").write_bytes(text)
    (folder / "host.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


class Broker:
    """Answers the AMQP header over TLS with a method frame; when frozen it accepts and is silent."""

    def __init__(self, folder: Path) -> None:
        self.frozen = False
        self.headers = 0
        self._identity = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._identity.load_cert_chain(folder / "host.pem", folder / "host.key")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(plain,), daemon=True).start()

    def _answer(self, plain: socket.socket) -> None:
        plain.settimeout(5)
        try:
            if self.frozen:
                time.sleep(3 * PATIENCE)
                return
            with self._identity.wrap_socket(plain, server_side=True) as channel:
                self.headers += channel.recv(8) == b"AMQP\x00\x00\x09\x01"
                channel.sendall(CONNECTION_START)
                channel.recv(1)
        except OSError:
            pass
        finally:
            plain.close()


class Check:
    """The program, running on 127.0.0.1; its peers are listeners at 127.0.0.2 and 127.0.0.3."""

    def __init__(self, folder: Path, broker: Broker) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.peers = {address: self._listen(address) for address in ("127.0.0.2", "127.0.0.3")}
        config = {
            "address": "127.0.0.1",
            "port": self.port,
            "broker_port": broker.port,
            "peers": list(self.peers),
            "tls": str(folder),
            "interval": 0.05,
            "patience": PATIENCE,
        }
        (folder / "check.json").write_text(json.dumps(config))
        self._trust = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        self._process = subprocess.Popen([sys.executable, str(PROGRAM), str(folder / "check.json")])

    def _listen(self, address: str) -> socket.socket:
        return socket.create_server((address, self.port), backlog=200)

    def lose(self, address: str) -> None:
        self.peers[address].close()

    def find(self, address: str) -> None:
        self.peers[address] = self._listen(address)

    def ask(self) -> str:
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=5) as plain,
            self._trust.wrap_socket(plain, server_hostname="127.0.0.1") as channel,
        ):
            return channel.recv(200).decode()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(5)
        for peer in self.peers.values():
            peer.close()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    make_certificate(tmp_path)
    made = Broker(tmp_path)
    yield made
    made.close()


@pytest.fixture
def check(tmp_path: Path, broker: Broker) -> Iterator[Check]:
    made = Check(tmp_path, broker)
    try:
        becomes(made, "up")
        yield made
    finally:
        made.close()


def becomes(check: Check, word: str, seconds: float = 10.0) -> str:
    """Wait for an answer that begins with `word`; returns it."""

    def answer() -> str:
        try:
            return check.ask()
        except OSError:
            return ""

    return eventually(lambda: found if (found := answer()).startswith(word) else "", seconds)


def eventually(ask: Callable[[], str], seconds: float) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := ask():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s")


def test_a_broker_that_answers_is_up(check: Check, broker: Broker) -> None:
    assert check.ask() == "up\n"
    assert broker.headers > 0


def test_a_frozen_broker_is_down_until_it_answers_again(check: Check, broker: Broker) -> None:
    broker.frozen = True
    started = time.monotonic()
    assert "no answer to the AMQP handshake" in becomes(check, "down")
    assert time.monotonic() - started < 3 * PATIENCE
    broker.frozen = False
    becomes(check, "up")


def test_one_lost_peer_leaves_a_majority_two_do_not(check: Check) -> None:
    check.lose("127.0.0.2")
    time.sleep(2 * PATIENCE)
    assert check.ask() == "up\n"
    check.lose("127.0.0.3")
    assert "it reaches 1 of 3 brokers, not a majority" in becomes(check, "down")
    check.find("127.0.0.3")
    becomes(check, "up")

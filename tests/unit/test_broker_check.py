"""The health check of a broker as a process: the broker answers, freezes, returns, and loses its peers.

The broker of these tests knows the few methods of AMQP that the check uses.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import ssl
import struct
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
PATIENCE = 0.5


def make_certificate(folder: Path) -> None:
    """ca.pem, host.pem and host.key for 127.0.0.1 to 127.0.0.3, signed by itself."""
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
            x509.SubjectAlternativeName(
                [x509.IPAddress(ipaddress.ip_address(f"127.0.0.{i}")) for i in (1, 2, 3)]
            ),
            critical=False,
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


def method(channel: int, class_id: int, method_id: int, arguments: bytes = b"") -> bytes:
    """A frame of AMQP with a method."""
    payload = struct.pack(">HH", class_id, method_id) + arguments
    return struct.pack(">BHI", 1, channel, len(payload)) + payload + b"\xce"


START = method(0, 10, 10, b"\0\x09" + bytes(12))
REFUSED = method(0, 10, 50, struct.pack(">HB", 403, 14) + b"ACCESS_REFUSED" + bytes(4))
# The answer to Connection.StartOk, TuneOk (none), Open, Channel.Open and Basic.Qos.
ANSWERS = {
    (10, 11): method(0, 10, 30, struct.pack(">HIH", 2047, 131072, 60)),
    (10, 31): b"",
    (10, 40): method(0, 10, 41, b"\0"),
    (20, 10): method(1, 20, 11, bytes(4)),
    (60, 10): method(1, 60, 11),
}


class Broker:
    """Answers over TLS; when frozen it accepts and is silent, when full it serves only what is open."""

    def __init__(self, folder: Path) -> None:
        self.frozen = self.full = False
        self.password = "right"
        self.headers = self.logins = self.questions = 0
        self._identity = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._identity.load_cert_chain(folder / "host.pem", folder / "host.key")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self.frozen = False  # ends the threads
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
            if self.frozen or self.full:
                time.sleep(3 * PATIENCE)
                return
            with self._identity.wrap_socket(plain, server_side=True) as channel:
                self.headers += channel.recv(8) == b"AMQP\x00\x00\x09\x01"
                channel.sendall(START)
                while frame := self._read(channel):
                    self._take(channel, struct.unpack(">HH", frame[:4]), frame)
        except OSError:
            pass
        finally:
            plain.close()

    def _read(self, channel: ssl.SSLSocket) -> bytes:
        head = channel.recv(7)
        if not head:
            return b""
        size = struct.unpack(">BHI", head)[2]
        body = b""
        while len(body) < size + 1:
            body += channel.recv(size + 1 - len(body))
        while self.frozen:
            time.sleep(0.02)
        return body

    def _take(self, channel: ssl.SSLSocket, called: tuple[int, ...], frame: bytes) -> None:
        self.questions += called == (60, 10)
        self.logins += called == (10, 11)
        if called == (10, 11) and f"\0monitor\0{self.password}".encode() not in frame:
            time.sleep(2 * PATIENCE)
            channel.sendall(REFUSED)
        else:
            channel.sendall(ANSWERS[called[0], called[1]])


class Peer:
    """The check of another broker: answers each newline over TLS. When lost, nothing listens."""

    def __init__(self, folder: Path, address: str, port: int) -> None:
        self.connections = self.questions = 0
        self._address = (address, port)
        self._identity = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._identity.load_cert_chain(folder / "host.pem", folder / "host.key")
        self._open: list[socket.socket] = []
        self.find()

    def find(self) -> None:
        self._listener = socket.create_server(self._address, backlog=200)
        threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()

    def lose(self) -> None:
        if self._listener.fileno() >= 0:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        for one in self._open:
            one.close()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                plain, _ = listener.accept()
                channel = self._identity.wrap_socket(plain, server_side=True)
            except OSError:
                return
            self._open.append(channel)
            self.connections += 1
            threading.Thread(target=self._answer, args=(channel,), daemon=True).start()

    def _answer(self, channel: ssl.SSLSocket) -> None:
        try:
            channel.sendall(b"down: for a reason of its own\n")
            while channel.recv(1):
                self.questions += 1
                channel.sendall(b"up\n")
        except OSError:
            pass


class Check:
    """The program, running on 127.0.0.1; its peers are listeners at 127.0.0.2 and 127.0.0.3."""

    def __init__(self, folder: Path, broker: Broker) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.peers = {one: Peer(folder, one, self.port) for one in ("127.0.0.2", "127.0.0.3")}
        config = {
            "address": "127.0.0.1",
            "port": self.port,
            "broker_port": broker.port,
            "peers": list(self.peers),
            "tls": str(folder),
            "interval": 0.05,
            "patience": PATIENCE,
            "user": "monitor",
            "password": "right",
            "vhost": "shop",
        }
        (folder / "check.json").write_text(json.dumps(config))
        self._trust = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        self._process = subprocess.Popen([sys.executable, str(PROGRAM), str(folder / "check.json")])

    def ask(self) -> str:
        return next(self.lines())

    def lines(self) -> Iterator[str]:
        """The lines of one connection: the first, then one for each newline, until the check closes it."""
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=5) as plain,
            self._trust.wrap_socket(plain, server_hostname="127.0.0.1") as channel,
        ):
            while line := channel.recv(200).decode():
                yield line
                channel.sendall(b"\n")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(5)
        for peer in self.peers.values():
            peer.lose()


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


def test_the_check_keeps_its_connections(check: Check, broker: Broker) -> None:
    peer = check.peers["127.0.0.2"]
    eventually(lambda: "asked" if broker.questions > 20 and peer.questions > 20 else "", 10)
    # One handshake, the login, and again after each answer that was too late on a busy machine.
    assert broker.headers <= 6
    assert peer.connections <= 3
    assert check.ask() == "up\n"


def test_a_refused_login_leaves_the_handshakes_and_never_makes_the_broker_down(
    broker: Broker, tmp_path: Path
) -> None:
    broker.password = "other"
    check = Check(tmp_path, broker)
    try:
        becomes(check, "up")
        deadline = time.monotonic() + 4 * PATIENCE
        while time.monotonic() < deadline:
            assert check.ask() == "up\n"
            time.sleep(0.05)
    finally:
        check.close()
    assert broker.logins == 1
    assert broker.headers > 10


def test_a_client_may_ask_again_on_its_connection_until_the_broker_is_down(
    check: Check, broker: Broker
) -> None:
    lines = check.lines()
    assert [next(lines) for _ in range(3)] == ["up\n"] * 3
    broker.frozen = True
    becomes(check, "down")
    assert next(lines).startswith("down")
    assert list(lines) == []


def test_a_broker_that_accepts_no_new_connections_is_down(check: Check, broker: Broker) -> None:
    eventually(lambda: "asked" if broker.questions else "", 10)
    broker.full = True
    assert check.ask() == "up\n"
    assert "no answer to the AMQP handshake" in becomes(check, "down", 15)


def test_a_frozen_broker_is_down_until_it_answers_again(check: Check, broker: Broker) -> None:
    broker.frozen = True
    started = time.monotonic()
    assert "no answer to the AMQP handshake" in becomes(check, "down")
    assert time.monotonic() - started < 3 * PATIENCE
    broker.frozen = False
    becomes(check, "up")


def test_one_lost_peer_leaves_a_majority_two_do_not(check: Check) -> None:
    check.peers["127.0.0.2"].lose()
    time.sleep(2 * PATIENCE)
    assert check.ask() == "up\n"
    check.peers["127.0.0.3"].lose()
    assert "it reaches 1 of 3 brokers, not a majority" in becomes(check, "down")
    check.peers["127.0.0.3"].find()
    becomes(check, "up")

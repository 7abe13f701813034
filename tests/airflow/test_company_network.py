"""Networks of companies: an authority of their own, and hosts for which their proxy is not used."""

from __future__ import annotations

import json
import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from telnyx_porting.client.connections import _is_direct
from telnyx_porting.flows.alerts.channels import Channel, ChannelError, Message
from telnyx_porting.hooks.telnyx import TelnyxHook
from telnyx_porting.notifications.deliver import deliver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.airflow
MESSAGE = Message("telnyx_default", "firing", (), "dedup", "text", datetime(2026, 10, 1, tzinfo=UTC))
VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


class Answer(BaseHTTPRequestHandler):
    """Telnyx's empty list, or a channel that takes what is posted."""

    def do_GET(self) -> None:
        meta = {"page_number": 1, "page_size": 1, "total_pages": 0, "total_results": 0}
        self._answer(json.dumps({"data": [], "meta": meta}).encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._answer(b"{}")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The file of a company's authority, and the URL of a server whose certificate it signed."""
    folder = tmp_path_factory.mktemp("company")
    ours, theirs = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "A company's own authority")])
    now = datetime.now(UTC)

    def certificate(subject: x509.Name, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType) -> bytes:
        begin, end = now - timedelta(days=1), now + timedelta(days=1)
        made = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number(), begin, end)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ours.public_key())
        for each in (authority, x509.SubjectKeyIdentifier.from_public_key(key.public_key()), *extensions):
            made = made.add_extension(each, critical=isinstance(each, (x509.BasicConstraints, x509.KeyUsage)))
        return made.sign(ours, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    # all that Python 3.13 wants (VERIFY_X509_STRICT)
    signs = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    ca = folder / "company.pem"
    ca.write_bytes(certificate(issuer, ours, x509.BasicConstraints(ca=True, path_length=None), signs))
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    here = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    pem, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    server = folder / "server.pem"
    key = theirs.private_bytes(pem, plain, serialization.NoEncryption())
    server.write_bytes(certificate(name, theirs, here) + key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server)
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as running:
        running.socket = context.wrap_socket(running.socket, server_side=True)
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield ca, f"https://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture
def origin(authority: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Both connections lead there, and nothing is said of its authority."""
    for name in (*VARIABLES, "SSL_CERT_DIR", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    _, url = authority
    telnyx = {"conn_type": "telnyx", "host": f"{url}/v2", "password": "KEY_SANDBOX"}
    monkeypatch.setenv("AIRFLOW_CONN_TELNYX_DEFAULT", json.dumps(telnyx))
    host, port = url.removeprefix("https://").split(":")
    alerts = {"conn_type": "http", "schema": "https", "host": host, "port": int(port)}
    monkeypatch.setenv("AIRFLOW_CONN_ALERTS", json.dumps(alerts))
    return url


def tell() -> None:
    deliver(Channel("alerts:json", "alerts", "json"), MESSAGE)


@pytest.mark.parametrize("variable", VARIABLES)
def test_either_variable_serves_both_halves(
    authority: tuple[Path, str], origin: str, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(authority[0]))
    with TelnyxHook().get_client() as client:
        assert client.count_porting_events() == 0
    tell()


def test_without_them_both_halves_say_what_to_set(origin: str) -> None:
    works, said = TelnyxHook().test_connection()
    assert not works
    with pytest.raises(ChannelError) as caught:
        tell()
    for words in (said, str(caught.value)):
        assert all(variable in words for variable in VARIABLES), words


def test_whoever_does_not_verify_an_alert_channel_goes_on_so(origin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    host, port = origin.removeprefix("https://").split(":")
    alerts = {"conn_type": "http", "schema": "https", "host": host, "port": int(port), "extra": {"verify": False}}
    monkeypatch.setenv("AIRFLOW_CONN_ALERTS", json.dumps(alerts))
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    with pytest.warns(match="Unverified HTTPS request"):
        tell()


@pytest.mark.parametrize(
    ("said", "host", "direct"),
    [
        ("api.telnyx.com", "api.telnyx.com", True),
        ("telnyx.com", "api.telnyx.com", True),
        (".telnyx.com", "api.telnyx.com", True),
        ("*", "api.telnyx.com", True),
        ("api.telnyx.com:443", "api.telnyx.com", True),
        ("api.telnyx.com:8443", "api.telnyx.com", False),
        ("localhost, 10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.1/8", "10.1.2.3", True),
        ("fd00::/8", "fd00::7", True),
        ("10.0.0.0/8", "api.telnyx.com", False),
        ("", "api.telnyx.com", False),
    ],
)
def test_hosts_for_which_no_proxy_is_used(monkeypatch: pytest.MonkeyPatch, said: str, host: str, direct: bool) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", said)
    assert _is_direct(host, 443) == direct

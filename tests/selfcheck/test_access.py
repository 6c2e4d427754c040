"""Credentials, tenants and certificates as they are written and as they leave."""

import base64

import pytest
from pydantic import ValidationError

from core.errors import CoalmineError
from selfcheck.access import AccessOptions


def access(**written):
    return AccessOptions.model_validate(written)


def test_headers_are_tenant_then_own_then_credentials(tmp_path):
    (tmp_path / "pw").write_text("s3cret\n")
    auth = {"username": "ann", "password_file": str(tmp_path / "pw")}
    headers = access(tenant="t1", headers={"X-A": "b"}, auth=auth).request_headers()
    basic = base64.b64encode(b"ann:s3cret").decode()
    assert headers == (
        ("X-Scope-OrgID", "t1"),
        ("X-A", "b"),
        ("Authorization", f"Basic {basic}"),
    )


@pytest.mark.parametrize(
    "auth",
    [
        {},
        {"username": "ann"},
        {"bearer": "env:T", "username": "a", "password": "env:T"},
        {"password": "env:T"},
        {"bearer": "env:T", "username": "a"},
        {"token": "env:T"},
    ],
)
def test_credentials_that_are_half_or_two_are_refused(auth, monkeypatch):
    monkeypatch.setenv("T", "t")
    with pytest.raises(ValidationError):
        access(auth=auth)


def test_every_form_of_a_secret_is_taken_out_of_what_a_server_says(tmp_path):
    (tmp_path / "pw").write_text("s3cret")
    auth = {"username": "ann", "password_file": str(tmp_path / "pw")}
    options = access(auth=auth, headers={"X-Key": "k3y"})
    basic = base64.b64encode(b"ann:s3cret").decode()
    said = options.redacted(f"no s3cret, no {basic}, no Basic {basic}, no k3y, but ann")
    assert "s3cret" not in said
    assert basic not in said
    assert "k3y" not in said
    assert said.endswith("but ann")


def test_nothing_is_repeated_once_the_secret_is_gone(tmp_path):
    token = tmp_path / "token"
    token.write_text("t0ken")
    options = access(auth={"bearer_file": str(token)})
    token.unlink()
    assert options.redacted("bad t0ken") == ""
    with pytest.raises(CoalmineError):
        options.request_headers()


def test_certificates_are_below_the_configs_folder_and_verification_is_on(tmp_path):
    tls = access(tls={"ca_file": "ca.pem"}).tls_parameters(tmp_path)
    assert (tls.verify, tls.ca_file) == (True, tmp_path / "ca.pem")
    assert access().tls_parameters(tmp_path).verify
    off = access(tls={"insecure": "lab, until the certificate is renewed"})
    assert not off.tls_parameters(tmp_path).verify

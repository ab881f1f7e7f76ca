"""TLS of the listener: a context from PEM files, or a sentence about why they cannot be used."""

from __future__ import annotations

import ssl

from agent.errors import ConfigError


def server_context(cert_file: str, key_file: str, client_ca_file: str) -> ssl.SSLContext | None:
    """What the listener speaks; None = plain HTTP. With `client_ca_file` clients must show a certificate it signed.

    Raises ConfigError for files that cannot be read, do not belong together, or need a passphrase.
    """
    if not cert_file:
        if key_file or client_ca_file:
            # Served in the clear, a client CA would be a promise not kept.
            raise ConfigError(["server.tls_cert_file: missing; tls_key_file and client_ca_file do nothing without it"])
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # The empty passphrase keeps OpenSSL from asking for one on the terminal.
        context.load_cert_chain(cert_file, key_file or None, password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError; a NUL in a name is a ValueError
        raise _unusable("tls_cert_file, server.tls_key_file", f"{cert_file}, {key_file or cert_file}", error) from error
    if client_ca_file:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(client_ca_file)
        except (OSError, ValueError) as error:
            raise _unusable("client_ca_file", client_ca_file, error) from error
    return context


def _unusable(key: str, files: str, error: Exception) -> ConfigError:
    reason = getattr(error, "strerror", None) or error
    return ConfigError([f"server.{key}: {files}: {reason}; give readable PEM files that belong together, the key unencrypted"])

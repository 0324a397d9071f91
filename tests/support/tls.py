"""Certificates, good and bad, for an HTTPS remote."""

import datetime
import ssl

import trustme


class Authority:
    """Signs certificates for 127.0.0.1; `ca_file` is what has to be trusted."""

    def __init__(self, folder):
        self._authority = trustme.CA()
        self.ca_file = str(folder / "ca.pem")
        self._authority.cert_pem.write_to_path(self.ca_file)

    def context(self, name="127.0.0.1", *, days=1):
        """For a server that says it is `name`; with negative `days` since when it has expired."""
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
        before = until - datetime.timedelta(days=2)
        certificate = self._authority.issue_cert(name, not_before=before, not_after=until)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return context

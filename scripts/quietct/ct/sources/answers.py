"""Ask a server over HTTP(S), and sort what comes into an answer, what may pass, and what will not."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus

import requests

from quietct import __version__
from quietct.ct.sources.retries import PassingError, Policy, retry_after_s
from quietct.errors import UserError

OFFLINE = (
    "Without a network, put the DICOM files of the series into resources/dicom/<SeriesInstanceUID>, or use the source "
    "`directory` or `phantom`."
)

# What requests raises when a connection fails or breaks.
BROKEN = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
    ConnectionError,
    TimeoutError,
)


class RefusedError(UserError):
    """The server answered that it won't; `status` is the HTTP status code."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def new_session() -> requests.Session:
    """Make a session, which keeps connections open; threads may share it.

    The proxies and certificates that the environment names (HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE) are used.
    """
    session = requests.Session()
    session.headers["User-Agent"] = f"quietct/{__version__}"
    # Sizes and hashes are those of the file, so it must come as it is.
    session.headers["Accept-Encoding"] = "identity"
    session.max_redirects = 5
    return session


@contextmanager
def answer(
    session: requests.Session,
    url: str,
    policy: Policy,
    params: Mapping[str, str | int] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Iterator[requests.Response]:
    """Ask for a URL; the answer is complete (200) or, if `headers` ask for a range, partial (206) or none (416).

    Parameters
    ----------
    session : requests.Session
        From `new_session`.
    url : str
        What to ask for.
    policy : Policy
        Its time-out.
    params : mapping, optional
        The query of the URL.
    headers : mapping, optional
        What makes it a request for a range.

    Yields
    ------
    requests.Response
        Its body is not read yet; reading may raise one of `BROKEN`.

    Raises
    ------
    PassingError
        If the server cannot be reached or is busy.
    RefusedError
        If the server answers that it won't (404, 403, ...).
    UserError
        If another attempt would end in the same way.
    """
    name = shown(url)
    try:
        response = session.get(url, params=params, headers=headers, stream=True, timeout=policy.timeout_s)
    except requests.TooManyRedirects as error:
        raise UserError(f"{name} leads in circles (more than {session.max_redirects} redirects).") from error
    except BROKEN as error:
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
            raise UserError(
                f"{name} has no certificate that this machine trusts. Behind a company's proxy, name the file with its "
                "certificate in the environment variable REQUESTS_CA_BUNDLE."
            ) from error
        raise PassingError(reason(error), hint=OFFLINE) from error
    except (OSError, ValueError) as error:  # requests' own errors are OSErrors; so is a missing file of certificates
        raise UserError(
            f"{name} cannot be asked for; check the address, and the proxies and REQUESTS_CA_BUNDLE in the environment."
        ) from error
    with response:
        status = response.status_code
        if status in (408, 425, 429) or status >= 500:
            raise PassingError(
                f"the server answers {_status(status)}", retry_after_s(response.headers.get("Retry-After"))
            )
        if status != 200 and not (headers and status in (206, 416)):
            raise RefusedError(f"{name} cannot be fetched: the server answers {_status(status)}.", status)
        if response.headers.get("Content-Encoding", "identity").lower() not in ("identity", "aws-chunked", ""):
            raise UserError(f"{name} comes compressed although it was asked for as it is; a proxy may be at fault.")
        yield response


def reason(error: BaseException) -> str:
    """Say what broke, to go behind "because".

    The texts of the errors are not used: they may quote a proxy's password.
    """
    causes = list(_causes(error))
    if any(isinstance(cause, requests.exceptions.ProxyError) for cause in causes):
        return "the proxy named in the environment does not serve"
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return "the name of the server is not known here"
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return "the server refuses the connection"
    if any(isinstance(cause, requests.Timeout | TimeoutError) for cause in causes):
        return "the server does not answer"
    return "the connection broke"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Walk from an error to its cause: by chaining, and as urllib3 and requests put it into `args` and `reason`."""
    for _ in range(20):  # chains may close
        if error is None:
            return
        yield error
        inner = getattr(error, "reason", None), *error.args, error.__cause__, error.__context__
        error = next((cause for cause in inner if isinstance(cause, BaseException)), None)


def shown(url: str) -> str:
    """Name a URL in a message: without a password and without its query."""
    return re.sub(r"//[^/]*@", "//", url.partition("?")[0])


def _status(code: int) -> str:
    try:
        return f"{code} ({HTTPStatus(code).phrase})"
    except ValueError:
        return str(code)

"""Tokens of OAuth 2.0 client credentials (RFC 6749, 4.4): fetched when needed, kept until shortly before they expire."""

from __future__ import annotations

import json
from base64 import b64encode
from urllib.parse import quote_plus, urlencode

import anyio
import httpx

from agent.net.credentials import CredentialError, FileSecret
from agent.net.options import OAuth2, shown
from agent.net.words import escaped, failure
from agent.secret import Changing

TOKEN_SECONDS = 10.0
"""Longest time for one token request."""
MAX_ANSWER_BYTES = 64 * 1024
UNKNOWN_LIFE_SECONDS = 300.0
"""A token that does not say how long it lives is used this long."""
MAX_LIFE_SECONDS = 86400.0
MARGIN_SECONDS = 60.0
"""A token is replaced so long before its end, or a tenth of its life where that is less."""
_REFUSED = ("invalid_client", "unauthorized_client")  # RFC 6749, 5.2


class Tokens:
    """The Authorization header of one peer. `http` is closed with it. Raises ConfigError for an unusable file."""

    def __init__(self, where: str, options: OAuth2, http: httpx.AsyncClient) -> None:
        self._options = options
        path = options.client_secret_file
        self._file = FileSecret(f"{where}.oauth2.client_secret_file", path) if path else None
        self._http = http
        self._tokens, self._logins = Changing(), Changing()
        self._header = ""
        self._until = 0.0
        self._lock = anyio.Lock()
        self._failures = 0
        self._failed: CredentialError | None = None

    async def header(self) -> str:
        """`Bearer` and a token that is still good. Raises CredentialError."""
        failures = self._failures
        async with self._lock:
            if self._header and anyio.current_time() < self._until:
                return self._header
            if self._failed is not None and failures != self._failures:
                # It failed while this request waited for it.
                raise CredentialError(self._failed.reason, retry=self._failed.retry)
            try:
                return await self._fetch()
            except CredentialError as error:
                self._failures += 1
                self._failed = error
                raise

    def refused(self, header: str) -> None:
        """The peer did not take it: the next request fetches another."""
        if self._header == header:
            self._until = 0.0

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _fetch(self) -> str:
        status, body = 0, b""
        with anyio.move_on_after(TOKEN_SECONDS) as patience:
            try:
                status, body = await self._ask()
            except httpx.TransportError as error:
                raise self._error(failure(error)[1]) from error
        if patience.cancelled_caught:
            raise self._error(f"no answer within {TOKEN_SECONDS:g} s")
        if len(body) > MAX_ANSWER_BYTES:
            raise self._error("the answer is too long")
        try:
            said = json.loads(body)
        except (ValueError, RecursionError):
            said = None
        answer = said if isinstance(said, dict) else {}
        if status != httpx.codes.OK:
            code = str(answer.get("error", ""))
            words = f"HTTP {status} {code} {answer.get('error_description', '')}"
            raise self._error(words, retry=status != 401 and not (status == 400 and code in _REFUSED))
        token = answer.get("access_token")
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
            raise self._error("the answer holds no usable access_token")
        if str(answer.get("token_type", "bearer")).lower() != "bearer":
            raise self._error("the token is not of the type bearer")
        self._header = f"Bearer {self._tokens.renew(token).reveal()}"  # known to the redaction from here on
        life = _life(answer.get("expires_in"))
        self._until = anyio.current_time() + life - min(MARGIN_SECONDS, life / 10)
        self._failed = None
        return self._header

    async def _ask(self) -> tuple[int, bytes]:
        options = self._options
        form = {"grant_type": "client_credentials"} | {k: v.reveal() for k, v in options.endpoint_params.items()}
        if options.scopes:
            form["scope"] = " ".join(options.scopes)
        secret = (self._file.current() if self._file else options.client_secret).reveal()
        login = b64encode(f"{quote_plus(options.client_id)}:{quote_plus(secret)}".encode()).decode()
        headers = {
            "Authorization": f"Basic {self._logins.renew(login).reveal()}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }
        body = bytearray()
        url = options.token_url
        async with self._http.stream("POST", url, headers=headers, content=urlencode(form).encode()) as response:
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    break
        return response.status_code, bytes(body)

    def _error(self, words: str, *, retry: bool = True) -> CredentialError:
        return CredentialError(f"no token from {shown(self._options.token_url)}: {escaped(words)}", retry=retry)


def _life(given: object) -> float:
    """Seconds, from `expires_in`: 0 to a day."""
    try:
        seconds = float(given) if isinstance(given, int | float | str) else UNKNOWN_LIFE_SECONDS
    except (ValueError, OverflowError):
        return UNKNOWN_LIFE_SECONDS
    return min(max(seconds, 0.0), MAX_LIFE_SECONDS) if seconds == seconds else UNKNOWN_LIFE_SECONDS

"""What the API is asked as: a token, or a GitHub App with a token of its own for each place it is installed in.

https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app tells how an App signs a JSON Web
Token with its key, and is given an hour's token for each of its installations in return.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import anyio

from agent.errors import CollectError, ConfigError
from agent.net.credentials import MAX_CREDENTIAL_BYTES, FileSecret
from agent.secret import Changing, Secret
from agent.sources.github.calls import Calls
from agent.sources.github.options import AppOptions, Options
from agent.sources.github.payload import seconds

APP = "/app"
"""The owner of what belongs to the App itself."""
JWT_SECONDS = 540.0
"""GitHub takes ten minutes at the most, and clocks differ."""
JWT_BACK_SECONDS = 60.0
"""So much earlier a JSON Web Token says it was made, as GitHub advises."""
MARGIN_SECONDS = 600.0
"""A token is replaced so long before its end."""
TOKEN_SECONDS = 3600.0
"""No token lives longer."""
INSTALLATIONS_SECONDS = 3600.0
"""How old the list of installations may become,"""
MISSED_SECONDS = 300.0
"""and where one is missed."""
MAX_INSTALLATIONS = 1000
MAX_TOKEN = 4096
"""Characters of a token; new ones hold a JSON Web Token themselves and have hundreds."""


class Credential(NamedTuple):
    """What a request is made with."""

    who: str
    """Whose rate limit it counts against."""
    token: Secret
    """Empty = none."""


class Credentials(Protocol):
    """Gives the credential for an owner's things."""

    @property
    def is_app(self) -> bool:
        """Whether it is an App's."""
        ...

    async def of(self, owner: str) -> Credential:
        """The one to ask with now. Raises CollectError where there is none."""
        ...

    def refused(self, credential: Credential) -> bool:
        """It was not taken; whether asking again may give another."""
        ...

    async def owners(self) -> tuple[str, ...]:
        """Those whose repositories an App was installed for; () = a token knows no such list."""
        ...


class Token:
    """A personal access token, or nothing. Raises ConfigError for a file that cannot be read."""

    is_app = False

    def __init__(self, where: str, options: Options) -> None:
        self._token = options.token
        self._file = FileSecret(f"{where}.token_file", options.token_file) if options.token_file else None

    async def of(self, _owner: str) -> Credential:
        """The same for all."""
        return Credential("token", self._file.current() if self._file else self._token)

    def refused(self, credential: Credential) -> bool:
        """Another one where the file has changed meanwhile."""
        return self._file is not None and credential.token != self._file.current()

    async def owners(self) -> tuple[str, ...]:
        """None known."""
        return ()


class _Held(NamedTuple):
    """A token, and until when it is used."""

    token: Secret
    until: float


_NONE = _Held(Secret(""), 0.0)


class App:
    """A GitHub App. Raises ConfigError for a key that is none, and where the extra `github-app` is not installed."""

    is_app = True

    def __init__(self, where: str, options: AppOptions, base: str, calls: Calls, clock: Callable[[], float]) -> None:
        self._where = where
        self._options = options
        self._base = base
        self._calls = calls
        self._clock = clock
        self._key = read_key(where, options)
        self._lock = anyio.Lock()
        self._tokens: dict[int, _Held] = {}
        self._jwt = _NONE
        self._made: dict[int, Changing] = {}
        """By installation, 0 = the App itself: its tokens of late, known to the redaction."""
        self._installations: dict[str, int] = {}
        """Owner in lower case -> installation."""
        self._listed: float | None = None
        sign(where, options.client_id, self._key, clock())  # says now what is wrong with the key

    async def of(self, owner: str) -> Credential:
        """The token of the installation for `owner`; the App's own for `/app`."""
        async with self._lock:
            if owner == APP:
                return Credential("app", self._own())
            number = self._options.installation_id or await self._installation(owner)
            held = self._tokens.get(number)
            if held is None or not self._clock() < held.until <= self._clock() + TOKEN_SECONDS:
                held = self._tokens[number] = await self._fetched(number)
            return Credential(f"installation {number}", held.token)

    def refused(self, credential: Credential) -> bool:
        """Forget it; the next is new."""
        if self._jwt.token == credential.token:
            self._jwt = _NONE
        self._tokens = {number: held for number, held in self._tokens.items() if held.token != credential.token}
        return True

    async def owners(self) -> tuple[str, ...]:
        """The accounts it is installed in."""
        async with self._lock:
            if self._is_old(INSTALLATIONS_SECONDS):
                await self._list()
            return tuple(self._installations)

    def _own(self) -> Secret:
        now = self._clock()
        if not now < self._jwt.until <= now + JWT_SECONDS:
            token = self._known(0, sign(self._where, self._options.client_id, self._key, now))
            self._jwt = _Held(token, now + JWT_SECONDS / 2)
        return self._jwt.token

    def _known(self, number: int, token: str) -> Secret:
        return self._made.setdefault(number, Changing()).renew(token)

    async def _installation(self, owner: str) -> int:
        known = self._installations.get(owner.lower())
        if self._is_old(INSTALLATIONS_SECONDS) or (known is None and owner and self._is_old(MISSED_SECONDS)):
            await self._list()
        if not owner:
            owner = next(iter(self._installations), "")
        number = self._installations.get(owner.lower())
        if number is None:
            raise CollectError("auth", f"the App is not installed for {owner or 'anybody'}; install it there")
        return number

    def _is_old(self, age: float) -> bool:
        return self._listed is None or not 0 <= self._clock() - self._listed < age

    async def _list(self) -> None:
        """Raises CollectError; the last list holds then."""
        found: dict[str, int] = {}
        url = f"{self._base}/app/installations?per_page=100"
        while url and len(found) < MAX_INSTALLATIONS:
            data, url = await self._json("GET", url, None)
            for item in data if isinstance(data, list) else ():
                account = item.get("account") if isinstance(item, dict) else None
                login, number = (account.get("login"), item.get("id")) if isinstance(account, dict) else (None, None)
                right = self._options.installation_id in (0, number)
                if isinstance(login, str) and isinstance(number, int) and right and not item.get("suspended_at"):
                    found[login.lower()] = number
        self._installations, self._listed = found, self._clock()

    async def _fetched(self, number: int) -> _Held:
        data, _ = await self._json("POST", f"{self._base}/app/installations/{number}/access_tokens", b"")
        token = data.get("token") if isinstance(data, dict) else None
        if not isinstance(token, str) or not 0 < len(token) <= MAX_TOKEN or not token.isascii() or not token.isprintable():
            raise CollectError("auth", f"GitHub gives no usable token for installation {number}")
        now = self._clock()
        ends = seconds(data.get("expires_at")) or now + TOKEN_SECONDS
        life = min(max(0.0, ends - now), TOKEN_SECONDS)
        return _Held(self._known(number, token), now + max(life - MARGIN_SECONDS, life / 10))

    async def _json(self, method: str, url: str, content: bytes | None) -> tuple[Any, str]:
        """The JSON at an address of the App itself, and that of the next page. Raises CollectError."""
        if not url.startswith(f"{self._base}/"):
            raise CollectError("status", "the next page would be at another address, which is not followed")
        reply = await self._calls.send("app", method, url, {"Authorization": f"Bearer {self._own().reveal()}"}, content=content)
        if reply.status not in (200, 201):
            self._jwt = _NONE
            if self._listed is not None:  # it may have been installed anew
                self._listed = min(self._listed, self._clock() - INSTALLATIONS_SECONDS + MISSED_SECONDS)
            hint = "check client_id, private_key, installation_id and this machine's clock"
            raise CollectError("auth", f"GitHub refuses the App: HTTP {reply.status} {reply.words}; {hint}")
        try:
            return json.loads(reply.body), reply.next
        except (ValueError, RecursionError) as error:
            raise CollectError("json", "GitHub's answer to the App is not JSON") from error


def read_key(where: str, options: AppOptions) -> Secret:
    """The App's private key. Raises ConfigError for a file that cannot be read."""
    if not options.private_key_file:
        return options.private_key
    try:
        with Path(options.private_key_file).open("rb") as file:
            raw = file.read(MAX_CREDENTIAL_BYTES + 1)
        if len(raw) > MAX_CREDENTIAL_BYTES:
            raise ValueError("it is too long for a key")
        return Secret(raw.decode("ascii"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError([f"{where}.private_key_file: cannot read {options.private_key_file}: {reason}"]) from error


def sign(where: str, client_id: str, key: Secret, now: float) -> str:
    """A JSON Web Token of the App. Raises ConfigError for a key that cannot sign, and where the signing code is not installed.

    https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
    """
    try:
        import jwt
        from cryptography.exceptions import UnsupportedAlgorithm
    except ImportError as error:
        raise ConfigError([f"{where}: a GitHub App takes more code; pip install 'cipush[github-app]'"]) from error
    claims = {"iat": int(now - JWT_BACK_SECONDS), "exp": int(now + JWT_SECONDS), "iss": client_id}
    try:
        return jwt.encode(claims, key.reveal(), algorithm="RS256")
    except (ValueError, TypeError, UnsupportedAlgorithm, jwt.PyJWTError) as error:
        # What these say may quote the key.
        raise ConfigError(
            [f"{where}: the private key is not an RSA key in PEM form; download it anew from the App's page"]
        ) from error

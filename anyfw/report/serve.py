"""The page of a running training, on this machine only: a server of the standard library in a thread of its own."""

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Self

from anyfw.core.errors import ConfigError
from anyfw.report.html import Page

HOST = "127.0.0.1"
REFRESH = 3  # seconds after which a browser asks again


class LivePage:
    """Serve a page at http://127.0.0.1:PORT/ that refreshes itself; `show` puts another one in its place.

    Nothing but GET of "/" is answered, and only to who calls it by the name of this machine: a page from elsewhere
    whose host name was made to point here (DNS rebinding) is refused. Use it with `with`; when it ends, a browser that
    is looking gets the last page first, which no longer asks for another.

    Args:
        port: from 0 to 65535; 0 is any free one.

    Attributes:
        url: where it is.

    Raises:
        ConfigError: no port, or one that is taken or not allowed.

    >>> with LivePage() as live:
    ...     live.url.startswith("http://127.0.0.1:")
    True
    """

    def __init__(self, port: int = 0) -> None:
        if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
            raise ConfigError(f"Port: expected a whole number from 0 to 65535, got {port!r}.")
        try:
            self._server = _Server((HOST, port), _Handler)
        except OSError as error:
            raise ConfigError(
                f"Port {port} cannot be served on: {error.strerror}. Choose another one, or none for any free one."
            ) from error
        self.port: int = self._server.server_address[1]
        self.url = f"http://{HOST}:{self.port}/"
        self.show(Page("anyfw").text("The training has not begun yet."))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="anyfw-page", daemon=True)
        self._thread.start()

    def show(self, page: Page) -> None:
        """Serve this page from now on."""
        self._latest = page
        self._server.content = page.render(refresh=REFRESH).encode()

    def close(self) -> None:
        """End, once a browser that is looking has the last page."""
        server = self._server
        server.content = server.final = str(self._latest).encode()
        if server.watched.is_set():
            server.last.wait(REFRESH + 1)
        server.shutdown()
        server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Elsewhere than on Linux, a second process could otherwise take over a port in use.
    allow_reuse_port = False

    def __init__(self, *arguments: Any) -> None:
        self.content = b""
        self.final: bytes | None = None
        # Whether anybody looks, and whether the last page was handed out.
        self.watched, self.last = threading.Event(), threading.Event()
        super().__init__(*arguments)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no error; stderr is the training's."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def server_bind(self) -> None:
        """Bind without asking a name server for this machine's name, as the base class does."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 5  # seconds that a client may take to ask
    server_version, sys_version = "anyfw", ""

    def do_GET(self) -> None:
        port = self.server.server_port
        if self.headers.get("Host", "") not in (f"{HOST}:{port}", f"localhost:{port}"):
            self.send_error(403, "Not a name of this machine")
            return
        if self.path != "/":
            self.send_error(404)
            return
        server = self.server
        # Before it is answered: who has the answer is known to look.
        server.watched.set()
        content = server.content
        self.send_response(200)
        for name, value in (
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(content))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        if content is server.final:
            server.last.set()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: stderr is the training's."""

"""Asks for a page without a pause, and tells which requests were answered, and when.

  ADDRESS NAME CA CONNECTIONS EVERY_MS

Connections are kept; one that breaks is made anew at once.
"""

import http.client
import socket
import ssl

PATIENCE_S = 3


class Connection(http.client.HTTPSConnection):
    """To an address, under the name of the page."""

    def __init__(self, address, name, context):
        super().__init__(name, timeout=PATIENCE_S, context=context)
        self.address, self.name, self.context = address, name, context

    def connect(self):
        plain = socket.create_connection((self.address, 443), PATIENCE_S)
        self.sock = self.context.wrap_socket(plain, server_hostname=self.name)


class Asker(Client):
    """One connection."""

    def __init__(self, place, context):
        super().__init__()
        self.place, self.context = place, context
        self.connection = None

    def ask(self, number):
        try:
            if self.connection is None:
                self.connection = Connection(*self.place, self.context)
            self.connection.request("GET", "/")
            answer = self.connection.getresponse()
            answer.read()
            if answer.status == 200:
                return True
            self.complain(f"answered {answer.status}")
        except (OSError, http.client.HTTPException) as error:
            self.complain(f"{type(error).__name__}: {error}")
        if self.connection is not None:
            self.connection.close()
        self.connection = None
        return False


def main():
    address, name, ca = sys.argv[1:4]
    connections, every_ms = int(sys.argv[4]), int(sys.argv[5])
    context = ssl.create_default_context(cafile=ca)
    play([Asker((address, name), context) for _ in range(connections)], every_ms)


if __name__ == "__main__":
    main()

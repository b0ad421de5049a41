"""Asks for a page without a pause, and tells which requests were answered, and when.

  prober.py ADDRESS NAME CA CONNECTIONS EVERY_MS

It ends when its input does, and prints a line for each request: its number, and when it was sent
and answered, in nanoseconds of the monotonic clock; `-` for one without a good answer. Connections
are kept; one that breaks is made anew at once.
"""

import http.client
import socket
import ssl
import sys
import threading
import time

PATIENCE_S = 3
PAUSE_S = 0.01


class Connection(http.client.HTTPSConnection):
    """To an address, under the name of the page."""

    def __init__(self, address, name, context):
        super().__init__(name, timeout=PATIENCE_S, context=context)
        self.address, self.name, self.context = address, name, context

    def connect(self):
        plain = socket.create_connection((self.address, 443), PATIENCE_S)
        self.sock = self.context.wrap_socket(plain, server_hostname=self.name)


class Asker(threading.Thread):
    """One connection."""

    def __init__(self, place, context, first, step, every_s, over):
        super().__init__(daemon=True)
        self.place, self.context = place, context
        self.number, self.step, self.every_s, self.over = first, step, every_s, over
        self.rows, self.complaints = [], {}
        self.connection = None

    def run(self):
        while not self.over.is_set():
            sent = time.monotonic_ns()
            answered = self.ask()
            self.rows.append((self.number, sent, answered))
            self.number += self.step
            pause = self.every_s - (time.monotonic_ns() - sent) / 1e9
            self.over.wait(max(pause, PAUSE_S if answered is None else 0))

    def ask(self):
        try:
            if self.connection is None:
                self.connection = Connection(*self.place, self.context)
            self.connection.request("GET", "/")
            answer = self.connection.getresponse()
            answer.read()
            if answer.status == 200:
                return time.monotonic_ns()
            self.complain(f"answered {answer.status}")
        except (OSError, http.client.HTTPException) as error:
            self.complain(f"{type(error).__name__}: {error}")
        if self.connection is not None:
            self.connection.close()
        self.connection = None
        return None

    def complain(self, text):
        self.complaints[text] = self.complaints.get(text, 0) + 1


def main():
    address, name, ca = sys.argv[1:4]
    connections, every_ms = int(sys.argv[4]), int(sys.argv[5])
    context = ssl.create_default_context(cafile=ca)
    over = threading.Event()
    askers = [
        Asker((address, name), context, first, connections, every_ms / 1000, over)
        for first in range(connections)
    ]
    for asker in askers:
        asker.start()
    sys.stdin.read()
    over.set()
    complaints = {}
    for asker in askers:
        asker.join(timeout=2 * PATIENCE_S)
        for number, sent, answered in list(asker.rows):
            print(number, sent, "-" if answered is None else answered)
        for text, times in asker.complaints.items():
            complaints[text] = complaints.get(text, 0) + times
    for text, times in sorted(complaints.items()):
        print(f"{times} times: {text}", file=sys.stderr)


if __name__ == "__main__":
    main()

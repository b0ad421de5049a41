"""What the clients of the tests share: each asks without a pause, and tells what became of it.

A line for each question: its number, and when it was sent and answered, in nanoseconds of the
monotonic clock; `-` for one without a good answer. It ends when its input does.
"""

import sys
import threading
import time

PAUSE_S = 0.01
JOIN_S = 10


class Client(threading.Thread):
    """One connection: it waits for one answer before it asks again."""

    def __init__(self):
        super().__init__(daemon=True)
        self.rows, self.complaints = [], {}

    def ask(self, number):
        """Asks once; whether the answer was good."""
        raise NotImplementedError

    def complain(self, text):
        self.complaints[text] = self.complaints.get(text, 0) + 1

    def pace(self, first, step, every_s, over):
        """It has every number of its own, from the first one on."""
        self.number, self.step, self.every_s, self.over = first, step, every_s, over
        self.start()

    def run(self):
        while not self.over.is_set():
            sent = time.monotonic_ns()
            answered = time.monotonic_ns() if self.ask(self.number) else None
            self.rows.append((self.number, sent, answered))
            self.number += self.step
            pause = self.every_s - (time.monotonic_ns() - sent) / 1e9
            self.over.wait(max(pause, PAUSE_S if answered is None else 0))


def play(clients, every_ms):
    over = threading.Event()
    for first, client in enumerate(clients):
        client.pace(first, len(clients), every_ms / 1000, over)
    sys.stdin.read()
    over.set()
    complaints = {}
    for client in clients:
        client.join(timeout=JOIN_S)
    for client in clients:
        for number, sent, answered in list(client.rows):
            print(number, sent, "-" if answered is None else answered)
        for text, times in client.complaints.items():
            complaints[text] = complaints.get(text, 0) + times
    for text, times in sorted(complaints.items()):
        print(f"{times} times: {text}", file=sys.stderr)

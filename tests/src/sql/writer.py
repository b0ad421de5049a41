"""Writes rows through an address without a pause, and tells which were acknowledged, and when.

  writer.py TABLE CONNECTIONS EVERY_MS

Where to, and as whom, is in libpq's variables. It ends when its input does, and prints a line for
each row: its number, and when it was sent and acknowledged, in nanoseconds of the monotonic clock;
`-` for one of which nothing is known. Each connection has numbers of its own and waits for one row
before it sends the next; one that breaks is made anew at once.
"""

import sys
import threading
import time

import psycopg2

PAUSE_S = 0.01


class Writer(threading.Thread):
    """One connection."""

    def __init__(self, table, first, step, every_s, over):
        super().__init__(daemon=True)
        self.insert = f"insert into {table} values (%s)"
        self.number, self.step, self.every_s, self.over = first, step, every_s, over
        self.rows, self.complaints = [], {}
        self.connection = None

    def run(self):
        while not self.over.is_set():
            sent = time.monotonic_ns()
            acknowledged = self.write()
            self.rows.append((self.number, sent, acknowledged))
            self.number += self.step
            pause = self.every_s - (time.monotonic_ns() - sent) / 1e9
            self.over.wait(max(pause, PAUSE_S if acknowledged is None else 0))

    def write(self):
        try:
            if self.connection is None:
                self.connection = psycopg2.connect(connect_timeout=3)
                self.connection.autocommit = True
            with self.connection.cursor() as cursor:
                cursor.execute(self.insert, (self.number,))
            return time.monotonic_ns()
        except psycopg2.Error as error:
            text = str(error).strip().splitlines() or [type(error).__name__]
            self.complaints[text[0]] = self.complaints.get(text[0], 0) + 1
            if self.connection is not None:
                self.connection.close()
            self.connection = None
            return None


def main():
    table, connections, every_ms = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    over = threading.Event()
    writers = [
        Writer(table, first, connections, every_ms / 1000, over) for first in range(connections)
    ]
    for writer in writers:
        writer.start()
    sys.stdin.read()
    over.set()
    for writer in writers:
        writer.join(timeout=10)
    complaints = {}
    for writer in writers:
        for number, sent, acknowledged in list(writer.rows):
            print(number, sent, "-" if acknowledged is None else acknowledged)
        for text, times in writer.complaints.items():
            complaints[text] = complaints.get(text, 0) + times
    for text, times in sorted(complaints.items()):
        print(f"{times} times: {text}", file=sys.stderr)


if __name__ == "__main__":
    main()

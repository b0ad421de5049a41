"""Writes rows through an address without a pause, and tells which were acknowledged, and when.

  TABLE CONNECTIONS EVERY_MS

Where to, and as whom, is in libpq's variables. A connection that breaks is made anew at once.
"""

import psycopg2


class Writer(Client):
    """One connection."""

    def __init__(self, table):
        super().__init__()
        self.insert = f"insert into {table} values (%s)"
        self.connection = None

    def ask(self, number):
        try:
            if self.connection is None:
                self.connection = psycopg2.connect(connect_timeout=3)
                self.connection.autocommit = True
            with self.connection.cursor() as cursor:
                cursor.execute(self.insert, (number,))
            return True
        except psycopg2.Error as error:
            text = str(error).strip().splitlines() or [type(error).__name__]
            self.complain(text[0])
            if self.connection is not None:
                self.connection.close()
            self.connection = None
            return False


def main():
    table, connections, every_ms = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    play([Writer(table) for _ in range(connections)], every_ms)


if __name__ == "__main__":
    main()

"""Has Patroni wait, before it promotes PostgreSQL, until this node holds the claim on leading.

The agent writes until when it does, in nanoseconds of the machine's monotonic clock. The fence of
the kernel goes by the same lease: without it PostgreSQL would lead, and nobody could reach it.

  0: it holds it    1: it did not get it in time; Patroni gives the leader key up
"""

import sys
import time

LEASE = "/run/hamesh-agent/database-lease"
PATIENCE_S = 15
LOOK_EVERY_S = 0.02


def leads_until_ns():
    try:
        with open(LEASE, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def main():
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if leads_until_ns() > time.clock_gettime_ns(time.CLOCK_MONOTONIC):
            return 0
        time.sleep(LOOK_EVERY_S)
    print(f"this node does not hold db/primary after {PATIENCE_S} s: it is not promoted")
    return 1


if __name__ == "__main__":
    sys.exit(main())

"""Asks Patroni what it thinks of a configuration: validate.py FILE

While Patroni runs its ports are in use, and before etcd runs it is not reachable: that is no fault
of a configuration.
"""

import subprocess
import sys

NO_FAULTS = ("is already in use.'", "is not reachable'")


def main():
    argv = ["patroni", "--validate-config", sys.argv[1]]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False)
    said = (ran.stdout + ran.stderr).splitlines()
    faults = [line for line in said if line.strip() and not line.endswith(NO_FAULTS)]
    # Whatever ends otherwise than by its own verdict has not judged.
    if ran.returncode not in (0, 1) or faults:
        print("\n".join(faults or [f"patroni ended with {ran.returncode}"]), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

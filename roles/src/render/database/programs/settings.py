"""Keeps what the whole cluster of Patroni goes by as the site says.

  check  0: it is so
  write  makes it so

  healthy  0: PostgreSQL runs here, and follows the leader or leads
"""

import json
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request

TERMS = "/etc/hamesh/database/settings.json"
PATIENCE_S = 3 * 60
ANSWER_S = 5


class Trouble(Exception):
    """What is wrong, for people."""


class Patroni:
    """Its REST API on this node."""

    def __init__(self, terms):
        self.url = terms["url"]
        context = ssl.create_default_context(cafile=terms["certificate"])
        context.load_cert_chain(terms["certificate"], terms["key"])
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )

    def ask(self, path, patch=None):
        body = None if patch is None else json.dumps(patch).encode()
        method = "GET" if patch is None else "PATCH"
        request = urllib.request.Request(self.url + path, data=body, method=method)
        try:
            with self.opener.open(request, timeout=ANSWER_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            try:
                return json.load(error)
            except ValueError:
                raise Trouble(f"Patroni answers {error.code} at {path}") from error
        except (OSError, ValueError) as error:
            raise Trouble(f"Patroni does not answer at {self.url}{path}: {error}") from error


def differs(wanted, there):
    """Whether anything that is wanted is otherwise; what nobody named is left alone."""
    if isinstance(wanted, dict):
        if not isinstance(there, dict):
            return True
        return any(differs(value, there.get(key)) for key, value in wanted.items())
    return str(wanted) != str(there)


def write(patroni, wanted):
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            if not differs(wanted, patroni.ask("/config", wanted)):
                return
            trouble = Trouble("Patroni did not take the settings over")
        except Trouble as it:
            trouble = it
        if time.monotonic() > until:
            raise trouble
        time.sleep(1)


def healthy(patroni):
    told = patroni.ask("/patroni")
    state, role = told.get("state"), told.get("role")
    if state != "running":
        raise Trouble(f"PostgreSQL is not running here yet: {state}")
    if role in ("master", "primary"):
        return
    query = "select 1 from pg_stat_wal_receiver where status = 'streaming'"
    argv = ["runuser", "-u", "postgres", "--", "psql", "-XAtqc", query]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False)
    if ran.stdout.strip() != "1":
        raise Trouble(f"it does not follow the leader yet {ran.stderr.strip()}")


def main():
    with open(TERMS, encoding="utf-8") as file:
        terms = json.load(file)
    patroni, wanted = Patroni(terms["patroni"]), terms["settings"]
    if sys.argv[1] == "check":
        return 1 if differs(wanted, patroni.ask("/config")) else 0
    if sys.argv[1] == "healthy":
        healthy(patroni)
    else:
        write(patroni, wanted)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Trouble as trouble:
        sys.exit(str(trouble))

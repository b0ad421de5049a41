"""Keeps the databases and users that the site declares, on the leader.

  check  0: they are there, with these passwords; or another node leads
  write  makes them

What the site does not declare is left alone: hamesh drops no database and no user.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import pwd
import ssl
import sys
import time
import urllib.request

import psycopg2
from psycopg2 import sql

TERMS = "/etc/hamesh/database/accounts.json"
PATIENCE_S = 3 * 60
ANSWER_S = 5
# Of a leader that is about to be one, or to be none any more.
PASSING = (OSError, psycopg2.OperationalError, psycopg2.errors.ReadOnlySqlTransaction)


def has_password(verifier, password):
    """Whether a SCRAM verifier (RFC 5803, as PostgreSQL writes it) is of this password."""
    try:
        scheme, salted, keys = (verifier or "").split("$")
        iterations, salt = salted.split(":")
        stored = keys.split(":")[0]
        if scheme != "SCRAM-SHA-256":
            return False
        salted = hashlib.pbkdf2_hmac(
            "sha256", password.encode(), base64.b64decode(salt), int(iterations)
        )
    except ValueError:
        return False
    client = hmac.digest(salted, b"Client Key", "sha256")
    return hmac.compare_digest(base64.b64encode(hashlib.sha256(client).digest()).decode(), stored)


def connect():
    """By the socket, as the system's own user of the server."""
    connection = psycopg2.connect(
        host="/var/run/postgresql", dbname="postgres", user="postgres", connect_timeout=5,
        application_name="hamesh",
    )
    connection.autocommit = True
    return connection


def leader(patroni):
    """The node that leads, by the word of this node's Patroni."""
    context = ssl.create_default_context(cafile=patroni["certificate"])
    context.load_cert_chain(patroni["certificate"], patroni["key"])
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    with opener.open(patroni["url"] + "/cluster", timeout=ANSWER_S) as answer:
        members = json.load(answer)["members"]
    return next((it["name"] for it in members if it["role"] == "leader"), None)


def missing(cursor, terms):
    """What is not as it should be: users first, for databases have owners."""
    cursor.execute("select rolname, rolpassword, rolcanlogin from pg_authid")
    roles = {name: (verifier, login) for name, verifier, login in cursor.fetchall()}
    users = []
    for name, password in terms["users"].items():
        verifier, login = roles.get(name, (None, False))
        if not login or not has_password(verifier, password):
            users.append((name, password, name in roles))
    cursor.execute("select datname, rolname from pg_database join pg_roles r on r.oid = datdba")
    there = dict(cursor.fetchall())
    databases = [it for it in terms["databases"] if there.get(it["name"]) != it["owner"]]
    return users, [(it["name"], it["owner"], it["name"] in there) for it in databases]


def make(cursor, terms):
    users, databases = missing(cursor, terms)
    # A password is hashed by the server, and must not reach its log on the way.
    cursor.execute("set log_statement = 'none'; set log_min_error_statement = 'panic'")
    cursor.execute("set password_encryption = 'scram-sha-256'")
    for name, password, known in users:
        verb = sql.SQL("alter" if known else "create")
        words = sql.SQL("{} role {} login password {}")
        cursor.execute(words.format(verb, sql.Identifier(name), sql.Literal(password)))
    for name, owner, known in databases:
        words = "alter database {} owner to {}" if known else "create database {} owner {}"
        cursor.execute(sql.SQL(words).format(sql.Identifier(name), sql.Identifier(owner)))


def become_postgres():
    user = pwd.getpwnam("postgres")
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def done(terms, act):
    """Whether nothing is to be done here, once that was done which `act` does."""
    leads = leader(terms["patroni"])
    if leads != terms["node"]:
        return leads is not None
    # As its own context a connection would begin a transaction, in which no database is made.
    with contextlib.closing(connect()) as connection, connection.cursor() as cursor:
        act(cursor, terms)
        return missing(cursor, terms) == ([], [])


def write(terms):
    """The cluster may be about to form, the server to start, or the leader to change."""
    until = time.monotonic() + PATIENCE_S
    said = "no node leads the databases yet"
    while time.monotonic() < until:
        try:
            if done(terms, make):
                return 0
        except PASSING as error:
            said = str(error).strip()
        time.sleep(1)
    raise SystemExit(said)


def main():
    with open(TERMS, encoding="utf-8") as file:
        terms = json.load(file)
    become_postgres()
    try:
        if sys.argv[1] == "check":
            return 0 if done(terms, lambda cursor, terms: None) else 1
        return write(terms)
    except (OSError, psycopg2.Error) as error:
        raise SystemExit(str(error).strip()) from error


if __name__ == "__main__":
    sys.exit(main())

"""Makes this node a member of the one etcd cluster of the site's databases.

There are never two clusters. A node that has etcd's data goes on with it. One that has none asks
every other: if a cluster answers it is joined, and only the founder (the first of the nodes by
name) begins a new one, once every other node has said that it has no data either. A node that
does not answer is waited for: it might have the data.

  begun    0: etcd can be started
  begin    waits for that
  settled  0: every member may vote, and every member is a node of the site
  settle   makes it so
  leave    this node is no member any more
"""

import http.server
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

TERMS = "/etc/hamesh/database/member.json"
# The whole command may take fifteen minutes: this says what it waits for before it is ended.
PATIENCE_S = 14 * 60
# A cluster that lives is done sooner, and without one there is nothing to settle.
SETTLED_S = 3 * 60
PAUSE_S = 1
ANSWER_S = 3


class Trouble(Exception):
    """What is wrong, for people."""


class Member:
    """This node, and the ways to the others."""

    def __init__(self, terms):
        self.name = terms["name"]
        self.nodes = terms["nodes"]
        self.data = terms["data"]
        self.start = terms["start"]
        self.token = terms["token"]
        self.certificate = terms["certificate"]
        self.key = terms["key"]
        self.founder = min(self.nodes)

    def others(self):
        return sorted(name for name in self.nodes if name != self.name)

    def peer_url(self, name):
        return f"https://{bracketed(self.nodes[name])}:2380"

    def client_url(self, name):
        return f"https://{bracketed(self.nodes[name])}:2379"

    def has_data(self):
        """Its log, that is: an etcd that fails before it begins leaves all else."""
        log = os.path.join(self.data, "member", "wal")
        return os.path.isdir(log) and any(it.endswith(".wal") for it in os.listdir(log))

    def tls(self, purpose):
        """The file holds the site's CA too: it is what is shown and what is trusted."""
        context = ssl.create_default_context(purpose, cafile=self.certificate)
        context.load_cert_chain(self.certificate, self.key)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def ask(self, name, path):
        """The answer at the peer port of a node; None: whoever is there has no such page."""
        url = self.peer_url(name) + path
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=self.tls(ssl.Purpose.SERVER_AUTH)),
        )
        try:
            with opener.open(url, timeout=ANSWER_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise Trouble(f"{name} answers {error.code} at {url}") from error
        except (OSError, ValueError) as error:
            raise Trouble(f"{name} does not answer at {url}: {error}") from error

    def etcdctl(self, through, *words):
        """Runs etcdctl against the etcd of one node."""
        argv = ["etcdctl", f"--endpoints={self.client_url(through)}"]
        argv += [f"--cacert={self.certificate}", f"--cert={self.certificate}"]
        argv += [f"--key={self.key}", "--command-timeout=5s", "--write-out=json", *words]
        environment = {**os.environ, "ETCDCTL_API": "3"}
        ran = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
        if ran.returncode != 0:
            said = (ran.stderr.strip() or "no reason given").splitlines()[-1]
            raise Trouble(f"etcd on {through}: {' '.join(words)}: {said}")
        return json.loads(ran.stdout)

    def members(self, through):
        return self.etcdctl(through, "member", "list")["members"]

    def mine(self, members):
        return [it for it in members if self.peer_url(self.name) in it["peerURLs"]]


def bracketed(address):
    return f"[{address}]" if ":" in address else address


def begun(member):
    """Whether etcd can be started here, now and after any crash."""
    return (member.has_data() or os.path.exists(member.start)) and not was_removed(member)


def was_removed(member):
    """Whether a cluster lives that has taken this node out: its data is of no use then."""
    try:
        member.ask(member.name, "/members")
        return False
    except Trouble:
        pass
    told = []
    for name in member.others():
        try:
            told.append(member.ask(name, "/members"))
        except Trouble:
            continue
    told = [members for members in told if members is not None]
    # One that lags behind may not know this node yet.
    return bool(told) and not any(member.mine(members) for members in told)


def begin(member):
    if begun(member):
        return
    # What is left is of a member that the cluster has taken out.
    forget(member)
    waiting = tell_that_blank(member)
    until = time.monotonic() + PATIENCE_S
    said = None
    try:
        while True:
            try:
                cluster, state = find(member)
                break
            except Trouble as trouble:
                if str(trouble) != said:
                    said = str(trouble)
                    print(said, file=sys.stderr)
                if time.monotonic() > until:
                    raise
            time.sleep(PAUSE_S)
    finally:
        waiting.shutdown()
        waiting.server_close()
    write_start(member, cluster, state)


def tell_that_blank(member):
    """Answers at the peer port, which etcd does not use yet, that there is no data here."""
    told = json.dumps({"blank": member.name, "nodes": member.nodes}).encode()

    class Blank(http.server.BaseHTTPRequestHandler):
        timeout = ANSWER_S

        def do_GET(self):
            if self.path != "/hamesh/blank":
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        address_family = 10 if ":" in member.nodes[member.name] else 2

        def finish_request(self, request, client_address):
            """Shakes hands in the thread of the request: one that stalls holds up no other."""
            request.settimeout(ANSWER_S)
            try:
                wrapped = tls.wrap_socket(request, server_side=True)
            except OSError:
                return
            with wrapped:
                super().finish_request(wrapped, client_address)

    tls = member.tls(ssl.Purpose.CLIENT_AUTH)
    server = Server((member.nodes[member.name], 2380), Blank)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def find(member):
    """The members to start with, and whether the cluster is there already."""
    silent, lives = [], False
    for name in member.others():
        try:
            members = member.ask(name, "/members")
            if members is not None:
                lives = True
                return join(member, name), "existing"
            told = member.ask(name, "/hamesh/blank")
            if told is None or told.get("nodes") != member.nodes:
                raise Trouble(f"{name} knows other nodes than this one: it has an older order")
        except Trouble as trouble:
            silent.append(str(trouble))
    if lives:
        raise Trouble("the cluster takes no member in yet; " + "; ".join(silent))
    if member.name != member.founder:
        raise Trouble(
            f"no cluster yet, and {member.founder} alone may found one; "
            + "; ".join(silent or ["it has not yet"])
        )
    if silent:
        raise Trouble(
            "a cluster is founded when every node has said that it has no data; "
            + "; ".join(silent)
        )
    return {member.name: member.peer_url(member.name)}, "new"


def join(member, through):
    """As a learner: it has no vote, so that one that never starts blocks nobody."""
    for old in member.mine(member.members(through)):
        member.etcdctl(through, "member", "remove", format(old["ID"], "x"))
    url = member.peer_url(member.name)
    words = ("member", "add", member.name, "--learner", f"--peer-urls={url}")
    members = member.etcdctl(through, *words)["members"]
    cluster = {it["name"]: it["peerURLs"][0] for it in members if it.get("name")}
    return {**cluster, member.name: url}


def write_start(member, cluster, state):
    """How etcd begins; once it has data it reads none of this."""
    listed = ",".join(f"{name}={url}" for name, url in sorted(cluster.items()))
    text = (
        f"ETCD_INITIAL_CLUSTER={listed}\n"
        f"ETCD_INITIAL_CLUSTER_STATE={state}\n"
        f"ETCD_INITIAL_CLUSTER_TOKEN={member.token}\n"
    )
    draft = member.start + ".draft"
    with open(draft, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(draft, member.start)
    folder = os.open(os.path.dirname(member.start), os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def strangers(member, members):
    urls = {member.peer_url(name) for name in member.nodes}
    return [it for it in members if not urls.intersection(it["peerURLs"])]


def settled(member):
    members = member.members(member.name)
    mine = member.mine(members)
    return bool(mine) and not mine[0].get("isLearner") and not strangers(member, members)


def settle(member):
    """Has this node vote, and takes out who is no node of the site."""
    until = time.monotonic() + SETTLED_S
    while True:
        try:
            through = voter(member)
            members = member.members(through)
            for it in member.mine(members):
                if it.get("isLearner"):
                    member.etcdctl(through, "member", "promote", format(it["ID"], "x"))
            for it in strangers(member, members):
                member.etcdctl(through, "member", "remove", format(it["ID"], "x"))
            if settled(member):
                return
        except Trouble:
            if time.monotonic() > until:
                raise
        time.sleep(PAUSE_S)


def voter(member):
    """A node whose etcd answers: a learner's refuses most questions."""
    troubles = []
    for name in [member.name, *member.others()]:
        try:
            member.etcdctl(name, "endpoint", "health")
            return name
        except Trouble as trouble:
            troubles.append(str(trouble))
    raise Trouble("; ".join(troubles))


def leave(member):
    """Is no failure when nobody answers: then there is no cluster to leave."""
    for name in member.others():
        try:
            for it in member.mine(member.members(name)):
                member.etcdctl(name, "member", "remove", format(it["ID"], "x"))
            forget(member)
            return
        except Trouble as trouble:
            print(trouble, file=sys.stderr)


def forget(member):
    shutil.rmtree(os.path.join(member.data, "member"), ignore_errors=True)
    if os.path.exists(member.start):
        os.remove(member.start)


def main():
    with open(sys.argv[2] if len(sys.argv) > 2 else TERMS, encoding="utf-8") as file:
        member = Member(json.load(file))
    verb = sys.argv[1]
    if verb in ("begun", "settled"):
        return 0 if {"begun": begun, "settled": settled}[verb](member) else 1
    {"begin": begin, "settle": settle, "leave": leave}[verb](member)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Trouble as trouble:
        sys.exit(str(trouble))

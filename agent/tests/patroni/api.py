"""Patroni's REST API around a member that is what its input says: a line for each change.

    api.py HOST:PORT PEM
"""

import sys
from types import SimpleNamespace

from patroni.api import RestApiServer

listen, pem = sys.argv[1:]
# What PostgreSQL does, whether it takes writes, and who has the leader's key.
STATES = {
    "leader": ("running", True, True),
    "replica": ("running", False, False),
    "demoted": ("running", True, False),
    "stopped": ("stopped", False, False),
}
now = {"is": STATES["stopped"]}


class Server(RestApiServer):
    def query(self, sql, *params):
        writes = now["is"][1]
        return [(None, 3 if writes else 0, 1, 1, 1, False, None, None)]


class Postgresql:
    name, scope, role, sysid, server_version = "node-1", "site", "replica", "1", 150018
    pending_restart = False
    POSTMASTER_START_TIME = TL_LSN = wal_name = lsn_name = ""

    @property
    def state(self):
        return now["is"][0]

    def replica_cached_timeline(self, timeline):
        return timeline


member = SimpleNamespace(
    postgresql=Postgresql(),
    dcs=SimpleNamespace(cluster=None, last_seen=0),
    ha=SimpleNamespace(
        is_leader=lambda: now["is"][2],
        is_paused=lambda: False,
        is_standby_cluster=lambda: False,
        failsafe_is_active=lambda: False,
        get_effective_tags=lambda: {},
        watchdog=SimpleNamespace(is_healthy=True),
    ),
    logger=SimpleNamespace(queue_size=0, NORMAL_LOG_QUEUE_SIZE=2, records_lost=0),
    version="3.0.2",
    scheduled_restart=None,
    noloadbalance=False,
)
settings = {
    "listen": listen,
    "certfile": pem,
    "keyfile": pem + ".key",
    "cafile": pem,
    "verify_client": "required",
    # Nobody here: it is asked, and changed by none.
    "allowlist": ["192.0.2.1"],
}
Server(member, settings).start()
for line in sys.stdin:
    now["is"] = STATES[line.strip()]

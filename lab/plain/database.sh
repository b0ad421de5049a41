#!/bin/bash
# A cluster of PostgreSQL as somebody builds it by hand, before anyone heard of hamesh: etcd and
# Patroni of Debian, without TLS, with Patroni's own times. Run on every machine, in this order:
#
#   database.sh etcd      on all, then
#   database.sh patroni   on all; the first one leads
#
# For comparison, `proxy CHECKS` on a machine of its own, and `times TTL LOOP RETRY` on one member.
set -euo pipefail

MEMBERS="database-1=192.168.56.51 database-2=192.168.56.52 database-3=192.168.56.53"

name=$(hostname)
own=

# addresses PREFIX SUFFIX: of every member, with commas between.
addresses() {
    list=
    for member in $MEMBERS; do
        list="$list,$1${member#*=}$2"
    done
    echo "${list#,}"
}

for member in $MEMBERS; do
    if [ "${member%=*}" = "$name" ]; then
        own=${member#*=}
    fi
done

packages() {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
}

etcd() {
    packages etcd-server etcd-client
    systemctl stop etcd
    rm -rf /var/lib/etcd/default
    cluster=
    for member in $MEMBERS; do
        cluster="$cluster,${member%=*}=http://${member#*=}:2380"
    done
    cat > /etc/default/etcd <<END
ETCD_NAME=$name
ETCD_LISTEN_PEER_URLS=http://$own:2380
ETCD_INITIAL_ADVERTISE_PEER_URLS=http://$own:2380
ETCD_LISTEN_CLIENT_URLS=http://$own:2379,http://127.0.0.1:2379
ETCD_ADVERTISE_CLIENT_URLS=http://$own:2379
ETCD_INITIAL_CLUSTER=${cluster#,}
ETCD_INITIAL_CLUSTER_TOKEN=plain
ETCD_INITIAL_CLUSTER_STATE=new
END
    systemctl enable --quiet etcd
    # It waits for most of the others.
    systemctl restart --no-block etcd
}

patroni() {
    packages postgresql-common
    # Patroni makes the cluster.
    echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf
    packages postgresql-15 patroni
    install -d -o postgres -g postgres -m 0755 /var/lib/postgresql/15
    cat > /etc/patroni/config.yml <<END
scope: plain
name: $name
restapi:
  listen: '$own:8008'
  connect_address: '$own:8008'
etcd3:
  hosts: '$(addresses "" ":2379")'
bootstrap:
  dcs:
    ttl: 30
    loop_wait: 10
    retry_timeout: 10
    maximum_lag_on_failover: 1048576
    postgresql:
      use_pg_rewind: true
  initdb:
    - encoding: UTF8
    - locale: C.UTF-8
    - data-checksums
postgresql:
  listen: '$own,127.0.0.1:5432'
  connect_address: '$own:5432'
  bin_dir: /usr/lib/postgresql/15/bin
  data_dir: /var/lib/postgresql/15/plain
  pgpass: /var/lib/postgresql/plain.pgpass
  authentication:
    superuser: {username: postgres, password: plain}
    replication: {username: replicator, password: plain}
  parameters:
    unix_socket_directories: /var/run/postgresql
  pg_hba:
    - local all postgres peer
    - host all postgres 127.0.0.1/32 scram-sha-256
    - host replication replicator 192.168.56.0/24 scram-sha-256
    - host all all 192.168.56.0/24 scram-sha-256
END
    chown postgres:postgres /etc/patroni/config.yml
    chmod 0600 /etc/patroni/config.yml
    systemctl enable --quiet patroni
    systemctl restart patroni
}

# proxy CHECKS: HAProxy's sample of Patroni's documentation, on a machine of its own.
proxy() {
    packages haproxy
    cat > /etc/haproxy/haproxy.cfg <<END
global
    maxconn 100
defaults
    mode tcp
    retries 2
    timeout client 30m
    timeout connect 4s
    timeout server 30m
    timeout check 5s
listen leader
    bind *:5000
    option httpchk OPTIONS /primary
    http-check expect status 200
    default-server $1 on-marked-down shutdown-sessions
END
    for member in $MEMBERS; do
        echo "    server ${member%=*} ${member#*=}:5432 maxconn 100 check port 8008"
    done >> /etc/haproxy/haproxy.cfg
    systemctl enable --quiet haproxy
    systemctl restart haproxy
}

# times TTL LOOP RETRY: in seconds; and commits wait for a standby.
times() {
    patronictl -c /etc/patroni/config.yml edit-config --force \
        -s ttl="$1" -s loop_wait="$2" -s retry_timeout="$3" -s synchronous_mode=true >/dev/null
}

"$@"

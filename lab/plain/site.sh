#!/bin/bash
# A site as shell scripts build it, before anyone heard of hamesh: keepalived moves two addresses,
# HAProxy stands behind each. Run on every machine:
#
#   site.sh web                     nginx, on port 30080
#   site.sh internal PRIORITY       web traffic to the machines of `web`
#   site.sh edge PRIORITY           TLS, and on to the internal address; needs /root/www.pem
set -euo pipefail

EDGE=192.168.30.130
INTERNAL=192.168.56.20
WEB="192.168.56.41 192.168.56.42 192.168.56.43"

packages() {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
}

web() {
    packages nginx-light
    cat > /etc/nginx/sites-available/default <<'END'
server {
    listen 30080;
    root /var/www/html;
    location = /healthz { return 200 "well\n"; }
}
END
    echo "served by $(hostname)" > /var/www/html/index.html
    systemctl enable --quiet nginx
    systemctl restart nginx
}

# The beginning of both proxies' configurations.
defaults() {
    cat <<'END'
global
    log /dev/log local0
    user haproxy
    group haproxy
    maxconn 4000
    stats socket /run/haproxy/admin.sock mode 660 level admin expose-fd listeners

defaults
    log global
    mode http
    option httplog
    timeout connect 5s
    timeout client 50s
    timeout server 50s

END
}

internal() {
    packages haproxy keepalived
    {
        defaults
        cat <<'END'
frontend web
    bind *:80
    default_backend nodes

backend nodes
    balance roundrobin
    option httpchk GET /healthz
END
        n=0
        for ip in $WEB; do
            n=$((n + 1))
            echo "    server web$n $ip:30080 check inter 2s"
        done
        # Somebody wanted this once.
        cat <<'END'

listen legacy
    bind *:8080
    server old 192.168.56.31:8080 check
END
    } > /etc/haproxy/haproxy.cfg
    systemctl enable --quiet haproxy
    systemctl restart haproxy
    address internal 51 "$1" "$INTERNAL"
}

edge() {
    packages haproxy keepalived
    cp /root/www.pem /etc/haproxy/www.pem
    chmod 0600 /etc/haproxy/www.pem
    {
        defaults
        cat <<END
frontend plain
    bind *:80
    http-request redirect scheme https code 301

frontend tls
    bind *:443 ssl crt /etc/haproxy/www.pem alpn h2,http/1.1
    http-request set-header X-Forwarded-Proto https
    default_backend internal

backend internal
    server vip $INTERNAL:80
END
    } > /etc/haproxy/haproxy.cfg
    systemctl enable --quiet haproxy
    systemctl restart haproxy
    address edge 52 "$1" "$EDGE"
}

# address NAME ROUTER PRIORITY IP
address() {
    interface=$(ip -4 -o route get "$4" | sed 's/.* dev \([^ ]*\).*/\1/')
    cat > /etc/keepalived/keepalived.conf <<END
global_defs {
    router_id $(hostname)
    script_user root
    enable_script_security
}

vrrp_script haproxy {
    script "/usr/bin/pgrep -x haproxy"
    interval 2
    fall 2
    rise 2
}

vrrp_instance $1 {
    state BACKUP
    interface $interface
    virtual_router_id $2
    priority $3
    advert_int 2
    authentication {
        auth_type PASS
        auth_pass plain
    }
    virtual_ipaddress {
        $4/24 dev $interface
    }
    track_script {
        haproxy
    }
}
END
    systemctl enable --quiet keepalived
    # Its first start has been seen to fail on a busy machine, and the second to work.
    systemctl restart keepalived || {
        journalctl --no-pager --lines 20 --unit keepalived >&2
        sleep 1
        systemctl restart keepalived
    }
}

"$@"

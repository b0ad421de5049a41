[Unit]
StartLimitIntervalSec=0

[Service]
EnvironmentFile=-/var/lib/etcd/hamesh.env
# Without its data it would begin a cluster of its own.
ExecStartPre=+/usr/bin/python3 /etc/hamesh/database/member.py begun
Restart=always
RestartSec=1s

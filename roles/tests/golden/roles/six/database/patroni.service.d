[Unit]
# It stops before the agent does: what leads then hands over in peace, under its lease.
After=etcd.service hamesh-agent.service
StartLimitIntervalSec=0

[Service]
# Where there is a watchdog Patroni has it restart a machine on which it hangs while it leads.
ExecStartPre=+-/usr/bin/chown postgres /dev/watchdog
Restart=always
RestartSec=200ms

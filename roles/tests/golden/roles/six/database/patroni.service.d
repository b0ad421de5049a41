[Unit]
After=etcd.service
StartLimitIntervalSec=0

[Service]
# Where there is a watchdog Patroni has it restart a machine on which it hangs while it leads.
ExecStartPre=+-/usr/bin/chown postgres /dev/watchdog
Restart=always
RestartSec=200ms

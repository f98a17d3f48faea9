// The commands that break and mend a host, to copy from its card. After the first line this is JSON; {host} is the host.
export default {
  "broker": [
    ["Kill the broker that leads a queue, under load, and count lost tasks.", "./lab drill kill-broker-leader"],
    ["Freeze the leader: it answers nothing, and its connections stay open.", "./lab drill freeze-broker-leader"],
    ["Kill this broker. systemd starts it again.", "./lab shell {host} systemctl kill --signal=KILL rabbitmq-server"],
    ["Stop this broker.", "./lab shell {host} systemctl stop rabbitmq-server"],
    ["Mend: start this broker.", "./lab shell {host} systemctl start rabbitmq-server"]
  ],
  "worker": [
    ["Kill a worker with all its processes during a task, under load, and count lost tasks.", "./lab drill kill-worker"],
    ["Kill only the process that runs a task.", "./lab drill kill-pool-child"],
    ["Turn the power of a worker host off.", "./lab drill power-off-worker"],
    ["Stop the workers of this host. Other hosts do their work.", "./lab shell {host} systemctl stop 'mosaic-worker@*'"],
    ["Mend: set this lab up again. It starts what does not run.", "./lab up"]
  ],
  "Database": [
    ["Stop the database for 30 s under load, and count lost tasks.", "./lab drill stop-database"],
    ["Mend: set this lab up again.", "./lab up"]
  ],
  "Beat": [
    ["See a beat send tasks, in a lesson.", "./lab tour beat"],
    ["Mend: set this lab up again.", "./lab up"]
  ],
  "Proxy": [
    ["Kill the proxy of a worker host under load, and count lost tasks.", "./lab drill kill-proxy"],
    ["Mend: start the proxy of this host.", "./lab shell {host} systemctl start haproxy"]
  ]
};

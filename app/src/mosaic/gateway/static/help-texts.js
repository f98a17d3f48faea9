// What each column and figure means: texts by page, then by label. "*" is for every page. After the first line this is JSON.
export default {
  "*": {
    "Application": "The Celery application that the row belongs to. Each application has a vhost of its own.",
    "Host": "The machine of the lab on which this runs. A host has the same colour on every page.",
    "State": "up: it works. degraded: a part of it is missing. down: it does not answer. unknown: it cannot be known now.",
    "Took": "The time from the start to the end.",
    "Queues": "The queues from which it receives messages.",
    "Outcome": "How the run ended. failed: the task raised an error. No outcome yet: it still runs."
  },
  "lab": {
    "Brokers up": "Brokers whose health check answers. The check runs beside each broker and is asked twice a second.",
    "Worker hosts up": "Hosts whose Celery workers all send heartbeats and are connected to a broker.",
    "Processes busy": "Pool processes that run a task now, and how many there are. Each process runs one task at a time.",
    "Tasks a second": "Tasks that the workers of mosaic started in each second, over the last 5 seconds.",
    "Parts waiting": "Parts of running jobs that no worker has started yet. Their messages are in a queue or at a worker.",
    "Jobs running": "Jobs that were accepted and are not done, failed or cancelled yet.",
    "leads": "Queues whose leader is on this broker. All messages of a quorum queue go through its leader.",
    "alarms": "A broker with too little memory or disk raises an alarm. Then all brokers block publishers.",
    "partitions": "Brokers that this broker cannot reach although they run. A minority of brokers pauses, so that no message is lost.",
    "memory": "Memory that the broker uses now. Above its limit it raises the memory alarm.",
    "answers in": "The time that the database needed for the latest query of this page.",
    "connections": "Open connections to the database, of all hosts and programs.",
    "on": "The host on which beat runs. Exactly one host runs it; otherwise periodic tasks would be sent twice.",
    "last tick": "When a worker last started the task that beat sends every 10 s. It shows that beat, brokers, workers and database work together.",
    "proxy sessions": "Connections from this host through its proxy HAProxy to each broker. A red broker fails the health check of the proxy, which then uses another one."
  },
  "jobs": {
    "Kind": "What the job computes, as chosen in the form.",
    "State": "running: parts are open. done: every part is done. failed: a part failed. cancelled: somebody stopped it.",
    "Progress": "The share of the work that is done, including the progress inside of long parts.",
    "Parts": "Parts that are done, and all parts. Each part is one message and one task.",
    "Took": "The time from the submission to the end, or until now.",
    "Hosts": "How many parts each worker host did. The brokers give each part to the next free worker.",
    "Submitted": "When the gateway stored the job.",
    "Cancel": "Stops a running job. Parts that are done stay."
  },
  "job": {
    "Part": "The number of the part in its job. Follow shows the way of its message.",
    "Attempt": "How often the part has been started, including this time. A part is started again when its host fails.",
    "Process": "The number (pid) of the pool process that ran the part.",
    "Start": "When the process began with the part, by the database's clock.",
    "Took": "The time from the start to the stored result.",
    "Outcome": "done, failed, lost (its process ended), retried (the database was away), duplicate (another attempt was faster), or discarded (the job was cancelled).",
    "Remark": "Whether the message was delivered again, where a long part resumed, and the error.",
    "Primes": "How many prime numbers there are in the whole range.",
    "Largest": "The largest prime number in the range.",
    "Computed again (maximum)": "Work that was done twice because a process ended between two checkpoints, at most."
  },
  "workers": {
    "Worker": "A Celery worker: a main process that receives messages, and pool processes that run tasks.",
    "Busy": "Pool processes that run a task now, and how many the worker has.",
    "Rate": "Tasks that it started in each second, over the last 5 seconds.",
    "Heartbeat": "The time since its last heartbeat. Workers of mosaic send one a second to the database, others every 2 s to the brokers."
  },
  "queues": {
    "Queue": "The queue's name. Messages wait in it until a consumer receives them.",
    "Ready": "Messages that wait for a consumer. A number that grows means that workers are slower than producers.",
    "Unacked": "Messages that a consumer has received and not acknowledged yet. If its connection ends, they are delivered again.",
    "In": "Messages that were published to this queue in each second. The brokers count every 5 s.",
    "Out": "Messages that were delivered to consumers in each second. The brokers count every 5 s.",
    "Consumers": "Workers and other programs that receive messages from this queue.",
    "Members": "Brokers that have a copy of the quorum queue. The leader accepts and delivers messages; a majority must store each one."
  },
  "periodic": {
    "Entry": "The name of the entry in the schedule of beat.",
    "Every": "How often beat sends the task.",
    "Next": "When beat sends the task the next time.",
    "Sent": "When beat sent the task the last time.",
    "Runs": "How often beat has sent the task.",
    "Last run by": "The worker host and the process that ran the latest task of this name.",
    "Took": "The time of the latest run."
  },
  "flow": {
    "published": "Messages that were published in each second. The brokers count every 5 s.",
    "ready": "Messages that wait for a consumer. The leader of the queue is asked each second.",
    "unacked": "Messages that a consumer has received and not acknowledged yet.",
    "delivered": "Messages that were delivered to consumers in each second. The brokers count every 5 s.",
    "consumers": "Programs that receive messages from this queue.",
    "leader": "The broker that accepts and delivers the messages of this queue.",
    "queues": "The queues that belong to this part.",
    "messages": "Messages in all of these queues, ready and unacknowledged.",
    "from": "The exchange that sends messages along this binding.",
    "to": "The queue or exchange that gets them.",
    "routing keys": "A message takes this binding when its routing key fits one of these patterns.",
    "routed": "Messages that took this way in each second. The brokers count every 5 s.",
    "user": "The user with which the program logged in at the broker.",
    "exchanges": "The exchanges to which this program publishes.",
    "prefetch": "Messages that the broker sends to this consumer before it waits for an acknowledgement.",
    "acknowledges": "no: the broker forgets a message as soon as it was sent, so it is lost when the consumer fails.",
    "state": "The result of the health check beside the broker, twice a second.",
    "leads here": "Queues of this vhost whose leader is on this broker."
  }
};

# SPDX-License-Identifier: Apache-2.0
"""A context through real brokers, by the adapters for their clients. A broker that is not installed is a skip, with its name.

    python brokers_test.py kafka|rabbitmq|mqtt|nats|redis PATH-OF-broker_round_trip
"""
import subprocess
import sys

import brokers

# What is spoken with each: RabbitMQ speaks two protocols, at one port.
PROTOCOLS = {"kafka": ["kafka"], "rabbitmq": ["rabbitmq", "amqp10"], "mqtt": ["mqtt"], "nats": ["nats"],
             "redis": ["redis"]}


def main(broker, peer):
    worst = 0
    try:
        with brokers.ALL[broker]() as server:
            print(f"{broker} answers after {server.seconds:.1f} s")
            for protocol in PROTOCOLS[broker]:
                status = subprocess.run([peer, protocol, str(server.port)], timeout=120, check=False).returncode
                if status == 77:
                    print(f"skipped: built without the client library of {protocol}")
                elif status:
                    print(f"{protocol}: status {status}")
                worst = status if worst in (0, 77) and status else worst
    except brokers.Missing as missing:
        print(f"skipped: {missing}")
        return 77
    return worst


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

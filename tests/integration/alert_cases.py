# SPDX-License-Identifier: Apache-2.0
"""What happens to the series of each alert, minute by minute, in promtool's notation: first all is well or it has just
gone wrong (`early`: must not fire), then it has been wrong for long enough (`fires`), then it is well again (`calm`)."""
from dataclasses import dataclass

BROKER = 'messaging_system="kafka",server_address="k1"'
GROUP = BROKER + ',messaging_destination_name="orders",messaging_consumer_group_name="billing"'
QUEUE = 'messaging_system="rabbitmq",server_address="r1",messaging_destination_name="mail"'
STREAM = ('messaging_system="redis",server_address="r2",server_port="6379",messaging_destination_name="steps",'
          'messaging_consumer_group_name="readers"')
AGENT = 'job="sonded",instance="a1"'
OTHER = 'job="sonded",instance="a2"'
BREAKER = 'job="orders",instance="o1",name="payments"'
SAGA = 'job="orders",sonde_saga_type="order"'
STATES = ("closed", "open", "half_open", "forced_open", "disabled", "metrics_only")

GROUP_LABELS = {"messaging_system": "kafka", "server_address": "k1", "messaging_destination_name": "orders",
                "messaging_consumer_group_name": "billing"}
QUEUE_LABELS = {"messaging_system": "rabbitmq", "server_address": "r1", "messaging_destination_name": "mail"}
STREAM_LABELS = {"messaging_system": "redis", "server_address": "r2", "server_port": "6379",
                 "messaging_destination_name": "steps", "messaging_consumer_group_name": "readers"}
BROKER_LABELS = {"messaging_system": "kafka", "server_address": "k1", "server_port": "9092"}
BREAKER_LABELS = {"job": "orders", "instance": "o1", "name": "payments"}


@dataclass
class Case:
    alert: str
    series: list  # of (series, values)
    early: int    # minutes
    fires: int
    calm: int
    labels: dict
    description: str


def series(metric, labels, values):
    return (f"{metric}{{{labels}}}", values)


def of_agents(metric, labels, values):
    """Two agents say the same of one broker: one alert, not two, and no sum."""
    return [series(metric, f"{agent},{labels}", values) for agent in (AGENT, OTHER)]


BROKERS = [
    Case("SondeConsumerLagTimeHigh",
         of_agents("sonde_messaging_consumer_lag_time_seconds", GROUP + ',estimate="interpolated"', "200x4 400x20 10x10"),
         14, 16, 30, GROUP_LABELS, "billing is 6m 40s behind on orders (kafka at k1)."),
    Case("SondeConsumerLagGrowing", of_agents("sonde_messaging_consumer_lag", GROUP, "2000x14 2000+600x40 100x40"),
         20, 50, 90, GROUP_LABELS, "billing falls behind on orders by 10 messages a second (kafka at k1)."),
    Case("SondeConsumerStopped",
         of_agents("sonde_messaging_consumer_progress", GROUP + ',state="stall"', "0x4 1x20 0x10")
         + of_agents("sonde_messaging_consumer_progress", GROUP + ',state="ok"', "1x4 0x20 1x10"),
         13, 16, 30, GROUP_LABELS, "billing does not advance on orders (kafka at k1)."),
    Case("SondeConsumerGroupEmptyWithBacklog",
         of_agents("sonde_messaging_consumer_lag", GROUP, "5x60")  # Kafka's members are of a group, not of a topic
         + of_agents("sonde_messaging_consumer_active", BROKER + ',messaging_consumer_group_name="billing"', "2x4 0x25 2x20"),
         18, 22, 40, GROUP_LABELS, "billing has no consumers, and messages wait for it on orders (kafka at k1)."),
    Case("SondeConsumerGroupEmptyWithBacklog",
         of_agents("sonde_messaging_consumer_lag", STREAM, "5x60")
         + of_agents("sonde_messaging_consumer_lag", STREAM.replace("6379", "6380"), "9x60")
         + of_agents("sonde_messaging_consumer_active", STREAM, "2x4 0x25 2x20")
         + of_agents("sonde_messaging_consumer_active", STREAM.replace("6379", "6380"), "3x60"),
         18, 22, 40, STREAM_LABELS, "readers has no consumers, and messages wait for it on steps (redis at r2)."),
    Case("SondeQueueWithoutConsumers",
         of_agents("sonde_messaging_queue_message", QUEUE + ',messaging_rabbitmq_vhost="a",state="ready"', "5x60")
         + of_agents("sonde_messaging_consumer_active", QUEUE + ',messaging_rabbitmq_vhost="a"', "2x4 0x25 2x20")
         + of_agents("sonde_messaging_queue_message", QUEUE + ',messaging_rabbitmq_vhost="b",state="ready"', "5x60")
         + of_agents("sonde_messaging_consumer_active", QUEUE + ',messaging_rabbitmq_vhost="b"', "3x60"),
         18, 22, 40, {**QUEUE_LABELS, "messaging_rabbitmq_vhost": "a"}, "mail has messages and no consumers (rabbitmq at r1)."),
    Case("SondeQueueUnackedHigh",
         of_agents("sonde_messaging_queue_message", QUEUE + ',state="unacked"', "9000x4 20000x25 10x20"),
         18, 22, 40, {**QUEUE_LABELS, "state": "unacked"},
         "20k messages of mail are not acknowledged (rabbitmq at r1)."),
    Case("SondeOldestMessageTooOld",
         of_agents("sonde_messaging_queue_oldest_message_age_seconds", QUEUE + ',state="ready"', "800x4 1200x15 0x20"),
         8, 12, 30, QUEUE_LABELS, "The oldest message of mail has waited 20m 0s (rabbitmq at r1)."),
    Case("SondeDeadLettersGrowing",
         of_agents("sonde_messaging_queue_message", QUEUE + ',state="dead_lettered"', "0x14 0+1x15 15x60"),
         14, 30, 60, {**QUEUE_LABELS, "state": "dead_lettered"},
         "mail has 15 more dead letters than fifteen minutes ago (rabbitmq at r1)."),
    Case("SondeMessagesExpiredUnread",
         of_agents("sonde_messaging_consumer_lag_expired", GROUP, "0x4 7x10 0x10"),
         4, 7, 20, GROUP_LABELS, "billing has lost 7 messages of orders: they were deleted unread (kafka at k1)."),
    # one agent alone that gets no answers is not a broker that is down
    Case("SondeBrokerPollFailing",
         [series("sonde_messaging_poll_up", f'{AGENT},{BROKER},server_port="9092"', "0x30"),
          series("sonde_messaging_poll_up", f'{OTHER},{BROKER},server_port="9092"', "1x4 0x10 1x15")],
         8, 11, 25, BROKER_LABELS, "kafka at k1:9092 has not answered."),
    Case("SondeBrokerPollStale",
         of_agents("sonde_messaging_poll_last_success_timestamp_seconds", BROKER + ',server_port="9092"',
                   "0+60x4 240x12 1020+60x20")
         + of_agents("sonde_messaging_poll_interval_seconds", BROKER + ',server_port="9092"', "60x50"),
         11, 13, 30, BROKER_LABELS, "kafka at k1:9092 last answered 9m 0s ago."),
    Case("SondeBrokerNotPolled",
         [series("sonde_messaging_poll_leader", f'{AGENT},{BROKER},server_port="9092"', "0x40"),
          series("sonde_messaging_poll_leader", f'{OTHER},{BROKER},server_port="9092"', "1x4 0x10 1x25")],
         8, 11, 25, BROKER_LABELS, "Nobody polls kafka at k1:9092."),
]

BREAKERS = [
    Case("SondeCircuitBreakerOpen",
         [series("sonde_circuit_breaker_state_time_seconds_total", f'{BREAKER},state="open"', "0x9 0+60x15 900x30"),
          series("sonde_circuit_breaker_state_time_seconds_total", f'{BREAKER},state="closed"', "0+60x9 540x15 540+60x30")],
         14, 22, 40, {"job": "orders", "name": "payments"}, "payments of orders is open for 100% of the time."),
    Case("SondeCircuitBreakerFlapping",
         [series("sonde_circuit_breaker_transition_total", f'{BREAKER},from="closed",to="open",reason="failure_rate"',
                 "0x29 0+1x30 30x60")],
         32, 60, 110, BREAKER_LABELS, "payments of orders (o1) opened 30 times in half an hour."),
    Case("SondeCircuitBreakerForcedOpen",
         [series("sonde_circuit_breaker_state", f'{BREAKER},state="{state}"',
                 "0x9 1x70 0x20" if state == "forced_open" else "0x100") for state in STATES],
         60, 75, 95, BREAKER_LABELS, "payments of orders (o1) rejects all calls because it was forced open."),
    Case("SondeHalfOpenStuck",
         [series("sonde_circuit_breaker_state", f'{BREAKER},state="{state}"',
                 "0x9 1x15 0x20" if state == "half_open" else "0x50") for state in STATES],
         17, 22, 40, BREAKER_LABELS,
         "payments of orders (o1) cannot decide: its probes do not come back, or no calls come."),
    Case("SondeRejectedCallsHigh",
         [series("sonde_circuit_breaker_call_total", f'{BREAKER},outcome="success"', "0+90x80"),
          series("sonde_circuit_breaker_call_total", f'{BREAKER},outcome="rejected"', "0x9 0+10x30 300x40")],
         15, 36, 60, {"job": "orders", "name": "payments"}, "payments of orders rejects 10% of its calls."),
    Case("SondeRetryBudgetExhausted",
         [series("sonde_resilience_retry_suppressed_total",
                 'job="orders",instance="o1",sonde_resilience_name="payments",sonde_resilience_reason="budget"',
                 "0x9 0+60x30 1800x40")],
         15, 36, 60, {"job": "orders", "sonde_resilience_name": "payments"},
         "payments of orders leaves out 1 retries a second."),
]

SAGAS = [
    Case("SondeSagaStuck", [series("sonde_saga_stuck", f'{AGENT},sonde_saga_type="order"', "0x4 3x10 0x10")],
         8, 12, 25, {"sonde_saga_type": "order"}, "3 sagas of type order are stuck."),
    Case("SondeSagaCompensationFailing",
         [series("sonde_saga_compensation_total", f'{SAGA},sonde_saga_step="charge",sonde_saga_outcome="failure"',
                 "0x19 0+1x15 15x30")],
         19, 35, 60, {"job": "orders", "sonde_saga_type": "order", "sonde_saga_step": "charge"},
         "orders failed 15 times to undo charge of order."),
    Case("SondeSagaFailureRatio",
         [series("sonde_saga_ended_total", f'{SAGA},sonde_saga_outcome="completed"', "0+90x100"),
          series("sonde_saga_ended_total", f'{SAGA},sonde_saga_outcome="failed"', "0x19 0+10x30 300x50")],
         21, 48, 90, {"job": "orders", "sonde_saga_type": "order"},
         "10% of the sagas of type order failed (orders)."),
]


def requests(code, values):
    return series("http_server_request_duration_seconds_count",
                  f'job="orders",instance="o1",http_response_status_code="{code}"', values)


def durations(bound, values):
    return series("http_server_request_duration_seconds_bucket", f'job="orders",instance="o1",le="{bound}"', values)


SERVICES = [
    Case("SondeHighErrorRatio", [requests(200, "0+90x200"), requests(500, "0x59 0+10x60 600x80")],
         60, 110, 180, {"job": "orders"}, "orders answers 10% of its requests with an error."),
    Case("SondeErrorBudgetBurn", [requests(200, "0+99x1000"), requests(500, "0x359 0+1x300 300x340")],
         370, 650, 950, {"job": "orders"}, "orders answered 1% of its requests with an error in the last half hour."),
    # all within a second; then all take two
    Case("SondeLatencyP99",
         [durations("1", "0+100x59 5900x90 5900+100x60"), durations("2", "0+100x210"), durations("+Inf", "0+100x210")],
         60, 140, 200, {"job": "orders"}, "orders takes 1.99s for the slowest request in a hundred."),
]

AGENTS = [
    Case("SondeAgentDown", [series("up", AGENT, "1x4 0x10 1x10")], 8, 12, 20, {"job": "sonded", "instance": "a1"},
         "The agent at a1 cannot be scraped; telemetry of its node waits in the services."),
    Case("SondeAgentDroppingSpans",
         [series("sonde_agent_dropped_records_total", f'{AGENT},signal="traces",reason="ring_full"', "0x9 0+60x25 1500x20"),
          series("sonde_agent_exporter_dropped_records_total", f'{AGENT},exporter="otlp",signal="logs",reason="too_big"',
                 "0x60")],
         15, 30, 50, {"instance": "a1", "signal": "traces", "reason": "ring_full"},
         "a1 drops 1 traces a second: ring_full."),
    Case("SondeAgentQueueFull",
         [series("sonde_agent_queue_size_bytes", AGENT, "50x4 95x15 5x10"),
          series("sonde_agent_queue_limit_bytes", AGENT, "100x40")],
         13, 17, 28, {"job": "sonded", "instance": "a1"}, "The queue of a1 is 95% full."),
    Case("SondeAgentExportFailing", [series("sonde_agent_exporter_failing", f'{AGENT},exporter="otlp"', "0x4 1x15 0x10")],
         13, 17, 28, {"job": "sonded", "instance": "a1", "exporter": "otlp"},
         "otlp of a1 delivers nothing; its records wait in the queue."),
    Case("SondeAgentCardinalityLimit",
         [series("requests_total", 'job="orders",otel_metric_overflow="true"', "_x4 1+1x20 stale _x20")],
         17, 22, 40, {"job": "orders"}, "1 instruments of orders count further series as one."),
    Case("SondeAgentLedgerUnbalanced", [series("sonde_agent_ledger_balanced", AGENT, "1x4 0x5 1x10")],
         5, 8, 15, {"job": "sonded", "instance": "a1"}, "The books of a1 do not balance."),
]

CASES = BROKERS + BREAKERS + SAGAS + SERVICES + AGENTS

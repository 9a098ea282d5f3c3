// SPDX-License-Identifier: Apache-2.0
// A member of a group of the new consumer protocol (KIP-848), until it is killed. Run from source: java -cp JARS THIS SERVER GROUP TOPIC
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public final class ConsumerProtocolGroup {
    public static void main(String[] arguments) {
        Map<String, Object> config = Map.of("bootstrap.servers", arguments[0], "group.id", arguments[1], "group.protocol", "consumer",
            "auto.offset.reset", "earliest", "auto.commit.interval.ms", "100");
        try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(arguments[2]));
            while (true) {
                consumer.poll(Duration.ofMillis(100));
            }
        }
    }
}

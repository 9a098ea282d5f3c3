// SPDX-License-Identifier: Apache-2.0
import com.hivemq.client.mqtt.MqttClient;
import com.hivemq.client.mqtt.MqttGlobalPublishFilter;
import com.hivemq.client.mqtt.datatypes.MqttQos;
import com.hivemq.client.mqtt.mqtt5.Mqtt5BlockingClient;
import com.hivemq.client.mqtt.mqtt5.datatypes.Mqtt5UserProperties;
import com.hivemq.client.mqtt.mqtt5.datatypes.Mqtt5UserPropertiesBuilder;
import com.hivemq.client.mqtt.mqtt5.message.publish.Mqtt5Publish;
import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.ConnectionFactory;
import io.nats.client.Connection;
import io.nats.client.Nats;
import io.nats.client.Subscription;
import io.nats.client.impl.Headers;
import io.nats.client.impl.NatsMessage;
import io.opentelemetry.api.baggage.Baggage;
import io.opentelemetry.instrumentation.kafkaclients.v2_6.KafkaTelemetry;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.qpid.protonj2.client.Client;
import org.apache.qpid.protonj2.client.ConnectionOptions;
import org.apache.qpid.protonj2.client.Delivery;
import org.apache.qpid.protonj2.client.Message;
import org.apache.qpid.protonj2.client.Receiver;
import org.apache.qpid.protonj2.client.Sender;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.StreamEntryID;
import redis.clients.jedis.params.XAddParams;
import redis.clients.jedis.params.XReadParams;

/** Transports by a broker. Kafka by the instrumentation library, the others by the propagation API. */
final class Messages {
    private static final String BODY = "hello";

    private Messages() {
    }

    static Peer.Half find(String role, String transport) {
        return switch (role + " " + transport) {
            case "send kafka" -> Messages::kafkaSend;
            case "receive kafka" -> Messages::kafkaReceive;
            case "send rabbitmq" -> Messages::rabbitmqSend;
            case "receive rabbitmq" -> Messages::rabbitmqReceive;
            case "send mqtt" -> Messages::mqttSend;
            case "receive mqtt" -> Messages::mqttReceive;
            case "send nats" -> Messages::natsSend;
            case "receive nats" -> Messages::natsReceive;
            case "send amqp1" -> Messages::amqp1Send;
            case "receive amqp1" -> Messages::amqp1Receive;
            case "send redis" -> Messages::redisSend;
            case "receive redis" -> Messages::redisReceive;
            default -> null;
        };
    }

    private static byte[] bytes() {
        return BODY.getBytes(StandardCharsets.UTF_8);
    }

    private static void requireBody(byte[] body) {
        Calls.require(BODY.equals(new String(body, StandardCharsets.UTF_8)), "body");
    }

    private static void kafkaSend(Peer peer) throws Exception {
        Map<String, Object> config = Map.of("bootstrap.servers", peer.host + ":" + peer.port);
        Producer<String, String> plain = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
        Producer<String, String> producer = KafkaTelemetry.create(peer.sdk).wrap(plain);
        peer.act(() -> producer.send(new ProducerRecord<>(peer.destination, BODY)).get());
        producer.close();
    }

    private static void kafkaReceive(Peer peer) throws Exception {
        Map<String, Object> config = Map.of("bootstrap.servers", peer.host + ":" + peer.port, "group.id",
                                            UUID.randomUUID().toString(), "auto.offset.reset", "earliest",
                                            "metadata.max.age.ms", "1000"); // the topic may come later
        StringDeserializer text = new StringDeserializer();
        Consumer<String, String> plain = new KafkaConsumer<>(config, text, text);
        Consumer<String, String> consumer = KafkaTelemetry.create(peer.sdk).wrap(plain);
        consumer.subscribe(List.of(peer.destination));
        peer.ready(); // from the earliest offset: whatever is sent from now on will be read
        while (!peer.isAnswered()) {
            for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                Calls.require(BODY.equals(record.value()), record.value());
                Map<String, List<String>> headers = new LinkedHashMap<>();
                for (Header header : record.headers()) // the last of a name counts, as for the library
                    headers.put(header.key(), List.of(new String(header.value(), StandardCharsets.UTF_8)));
                peer.tookFromLibrary(Baggage.fromContext(peer.extract(headers)));
            }
        }
        consumer.close();
    }

    private static com.rabbitmq.client.Connection rabbitmq(Peer peer) throws Exception {
        ConnectionFactory factory = new ConnectionFactory();
        factory.setHost(peer.host);
        factory.setPort(peer.port);
        return factory.newConnection();
    }

    private static void rabbitmqSend(Peer peer) throws Exception {
        try (com.rabbitmq.client.Connection connection = rabbitmq(peer)) {
            Channel channel = connection.createChannel();
            channel.queueDeclare(peer.destination, false, false, false, null);
            channel.confirmSelect();
            peer.act(() -> {
                AMQP.BasicProperties properties =
                    new AMQP.BasicProperties.Builder().headers(new LinkedHashMap<>(peer.injected())).build();
                channel.basicPublish("", peer.destination, properties, bytes());
                channel.waitForConfirmsOrDie();
            });
        }
    }

    private static void rabbitmqReceive(Peer peer) throws Exception {
        try (com.rabbitmq.client.Connection connection = rabbitmq(peer)) {
            Channel channel = connection.createChannel();
            channel.queueDeclare(peer.destination, false, false, false, null);
            channel.basicConsume(peer.destination, true, (tag, delivery) -> {
                requireBody(delivery.getBody());
                Map<String, String> headers = new LinkedHashMap<>();
                Map<String, Object> came = delivery.getProperties().getHeaders();
                if (came != null)
                    came.forEach((name, value) -> headers.put(name, text(value)));
                peer.extracted(headers);
            }, tag -> {});
            peer.ready();
            peer.awaitAnswer();
        }
    }

    /** Text comes as a long string or as bytes, depending on the producer's client. */
    private static String text(Object value) {
        return value instanceof byte[] array ? new String(array, StandardCharsets.UTF_8) : String.valueOf(value);
    }

    private static Mqtt5BlockingClient mqtt(Peer peer) {
        Mqtt5BlockingClient client =
            MqttClient.builder().useMqttVersion5().serverHost(peer.host).serverPort(peer.port).buildBlocking();
        client.connect();
        return client;
    }

    private static void mqttSend(Peer peer) throws Exception {
        Mqtt5BlockingClient client = mqtt(peer);
        peer.act(() -> {
            Mqtt5UserPropertiesBuilder properties = Mqtt5UserProperties.builder();
            peer.injected().forEach(properties::add);
            client.publishWith()
                .topic(peer.destination)
                .qos(MqttQos.AT_LEAST_ONCE)
                .payload(bytes())
                .userProperties(properties.build())
                .send();
        });
        client.disconnect();
    }

    private static void mqttReceive(Peer peer) throws Exception {
        Mqtt5BlockingClient client = mqtt(peer);
        try (Mqtt5BlockingClient.Mqtt5Publishes publishes = client.publishes(MqttGlobalPublishFilter.ALL)) {
            client.subscribeWith().topicFilter(peer.destination).qos(MqttQos.AT_LEAST_ONCE).send();
            peer.ready();
            Mqtt5Publish message = publishes.receive(peer.timeout.toMillis(), TimeUnit.MILLISECONDS).orElseThrow();
            requireBody(message.getPayloadAsBytes());
            Map<String, String> headers = new LinkedHashMap<>();
            message.getUserProperties().asList().forEach(
                property -> headers.put(property.getName().toString(), property.getValue().toString()));
            peer.extracted(headers);
        }
        client.disconnect();
    }

    private static void natsSend(Peer peer) throws Exception {
        try (Connection connection = Nats.connect("nats://" + peer.host + ":" + peer.port)) {
            peer.act(() -> {
                Headers headers = new Headers();
                peer.injected().forEach((name, value) -> headers.put(name, value));
                connection.publish(
                    NatsMessage.builder().subject(peer.destination).headers(headers).data(bytes()).build());
                connection.flush(peer.timeout);
            });
        }
    }

    private static void natsReceive(Peer peer) throws Exception {
        try (Connection connection = Nats.connect("nats://" + peer.host + ":" + peer.port)) {
            Subscription subscription = connection.subscribe(peer.destination);
            connection.flush(peer.timeout);
            peer.ready();
            io.nats.client.Message message = subscription.nextMessage(peer.timeout);
            Calls.require(message != null, "nothing");
            requireBody(message.getData());
            Map<String, String> headers = new LinkedHashMap<>();
            if (message.hasHeaders())
                message.getHeaders().forEach((name, values) -> headers.put(name, values.get(0)));
            peer.extracted(headers);
        }
    }

    private static org.apache.qpid.protonj2.client.Connection amqp1(Client client, Peer peer) throws Exception {
        ConnectionOptions options = new ConnectionOptions().user("guest").password("guest");
        options.saslOptions().addAllowedMechanism("PLAIN");
        return client.connect(peer.host, peer.port, options);
    }

    private static void amqp1Send(Peer peer) throws Exception {
        try (Client client = Client.create();
             org.apache.qpid.protonj2.client.Connection connection = amqp1(client, peer)) {
            Sender sender = connection.openSender(peer.destination);
            peer.act(() -> {
                Message<String> message = Message.create(BODY);
                for (Map.Entry<String, String> entry : peer.injected().entrySet())
                    message.property(entry.getKey(), entry.getValue());
                sender.send(message).awaitSettlement(peer.timeout.toMillis(), TimeUnit.MILLISECONDS);
            });
        }
    }

    private static void amqp1Receive(Peer peer) throws Exception {
        try (Client client = Client.create();
             org.apache.qpid.protonj2.client.Connection connection = amqp1(client, peer)) {
            Receiver receiver = connection.openReceiver(peer.destination);
            receiver.openFuture().get();
            peer.ready();
            Delivery delivery = receiver.receive(peer.timeout.toMillis(), TimeUnit.MILLISECONDS);
            Calls.require(delivery != null, "nothing");
            Message<Object> message = delivery.message();
            Object body = message.body();
            Calls.require(BODY.equals(text(body)), body);
            Map<String, String> headers = new LinkedHashMap<>();
            if (message.hasProperties())
                message.forEachProperty((name, value) -> headers.put(name, String.valueOf(value)));
            peer.extracted(headers);
            delivery.accept();
        }
    }

    private static void redisSend(Peer peer) throws Exception {
        try (Jedis redis = new Jedis(peer.host, peer.port)) {
            peer.act(() -> {
                Map<String, String> fields = new LinkedHashMap<>(Map.of("body", BODY));
                fields.putAll(peer.injected());
                redis.xadd(peer.destination, XAddParams.xAddParams(), fields);
            });
        }
    }

    private static void redisReceive(Peer peer) throws Exception {
        try (Jedis redis = new Jedis(peer.host, peer.port)) {
            peer.ready();
            while (!peer.isAnswered()) {
                var streams = redis.xread(XReadParams.xReadParams().count(1).block(1000),
                                          Map.of(peer.destination, new StreamEntryID(0, 0)));
                if (streams == null || streams.isEmpty())
                    continue;
                Map<String, String> fields = streams.get(0).getValue().get(0).getFields();
                requireBody(fields.get("body").getBytes(StandardCharsets.UTF_8));
                peer.extracted(fields);
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import com.sun.net.httpserver.HttpServer;
import io.grpc.CallOptions;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.Server;
import io.grpc.ServerServiceDefinition;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.ServerCalls;
import io.opentelemetry.instrumentation.grpc.v1_6.GrpcTelemetry;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;

/** Transports with an answer: HTTP by the JDK's client and server, gRPC by the instrumentation library. */
final class Calls {
    private static final byte[] BODY = "hello".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] GRPC_BODY = "\n\5hello".getBytes(StandardCharsets.US_ASCII);

    private Calls() {
    }

    static Peer.Half find(String role, String transport) {
        return switch (role + " " + transport) {
            case "call http" -> Calls::httpCall;
            case "serve http" -> Calls::httpServe;
            case "call grpc" -> Calls::grpcCall;
            case "serve grpc" -> Calls::grpcServe;
            default -> null;
        };
    }

    static void require(boolean condition, Object what) {
        if (!condition)
            throw new IllegalStateException("unexpected: " + what);
    }

    private static void httpCall(Peer peer) throws Exception {
        HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        peer.act(() -> {
            HttpRequest.Builder request =
                    HttpRequest.newBuilder(URI.create("http://" + peer.host + ":" + peer.port + peer.destination))
                            .POST(HttpRequest.BodyPublishers.ofByteArray(BODY));
            peer.injected().forEach(request::setHeader);
            HttpResponse<byte[]> answer = client.send(request.build(), HttpResponse.BodyHandlers.ofByteArray());
            require(answer.statusCode() == 200 && Arrays.equals(answer.body(), BODY), answer);
        });
    }

    private static void httpServe(Peer peer) throws Exception {
        HttpServer server = HttpServer.create(new InetSocketAddress(peer.host, peer.port), 0);
        server.createContext(peer.destination, exchange -> {
            byte[] body = exchange.getRequestBody().readAllBytes();
            Map<String, List<String>> headers = new TreeMap<>(String.CASE_INSENSITIVE_ORDER);
            headers.putAll(exchange.getRequestHeaders());
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
            peer.extractedLists(headers);
        });
        server.start();
        peer.ready(server.getAddress().getPort());
        peer.awaitAnswer();
        server.stop(0);
    }

    private static MethodDescriptor<byte[], byte[]> method(String name) {
        MethodDescriptor.Marshaller<byte[]> bytes = new Bytes();
        return MethodDescriptor.<byte[], byte[]>newBuilder()
                .setType(MethodDescriptor.MethodType.UNARY)
                .setFullMethodName(name)
                .setRequestMarshaller(bytes)
                .setResponseMarshaller(bytes)
                .build();
    }

    private static void grpcCall(Peer peer) throws Exception {
        ManagedChannel channel = NettyChannelBuilder.forAddress(peer.host, peer.port)
                                         .usePlaintext()
                                         .intercept(GrpcTelemetry.create(peer.sdk).createClientInterceptor())
                                         .build();
        peer.act(() -> {
            byte[] answer = ClientCalls.blockingUnaryCall(
                    channel, method(peer.destination), CallOptions.DEFAULT.withWaitForReady(), GRPC_BODY);
            require(Arrays.equals(answer, GRPC_BODY), new String(answer, StandardCharsets.UTF_8));
        });
        channel.shutdownNow();
    }

    private static void grpcServe(Peer peer) throws Exception {
        String service = peer.destination.substring(0, peer.destination.lastIndexOf('/'));
        ServerCalls.UnaryMethod<byte[], byte[]> handler = (request, observer) -> {
            peer.took();
            observer.onNext(request);
            observer.onCompleted();
        };
        ServerServiceDefinition definition =
                ServerServiceDefinition.builder(service)
                        .addMethod(method(peer.destination), ServerCalls.asyncUnaryCall(handler))
                        .build();
        Server server = NettyServerBuilder.forAddress(new InetSocketAddress(peer.host, peer.port))
                                .intercept(GrpcTelemetry.create(peer.sdk).createServerInterceptor())
                                .addService(definition)
                                .build()
                                .start();
        peer.ready(server.getPort());
        peer.awaitAnswer();
        server.shutdown();
        server.awaitTermination(5, TimeUnit.SECONDS);
    }

    /** A message as it is. */
    private static final class Bytes implements MethodDescriptor.Marshaller<byte[]> {
        @Override
        public InputStream stream(byte[] value) {
            return new ByteArrayInputStream(value);
        }

        @Override
        public byte[] parse(InputStream stream) {
            try {
                return stream.readAllBytes();
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
// The transports of peer.js: each function is one half of a hop. Client libraries are loaded where they are used: after
// the instrumentation that wraps them.
'use strict';
const assert = require('node:assert/strict');

const BODY = Buffer.from('hello');
const GRPC_BODY = Buffer.from('0a0568656c6c6f', 'hex');
const none = () => [];

const http = {
  instrumentations: () => [new (require('@opentelemetry/instrumentation-http').HttpInstrumentation)()],

  async call(peer, host, port, path) {
    const client = require('node:http');
    await peer.act(
      () =>
        new Promise((resolve, reject) => {
          const request = client.request({ host, port, path, method: 'POST' }, (response) => {
            assert.equal(response.statusCode, 200);
            response.setEncoding('utf8').on('data', (text) => assert.equal(text, 'hello'));
            response.on('end', resolve);
          });
          request.on('error', reject);
          request.end(BODY);
        }),
    );
  },

  async serve(peer, host, port) {
    const server = require('node:http').createServer((request, response) => {
      peer.took();
      request.pipe(response.on('finish', () => server.close()));
    });
    await new Promise((resolve) => server.listen(port, host, resolve));
    peer.ready(server.address().port);
    await new Promise((resolve) => server.on('close', resolve));
  },
};

const same = (bytes) => bytes;

const grpc = {
  instrumentations: () => [new (require('@opentelemetry/instrumentation-grpc').GrpcInstrumentation)()],

  async call(peer, host, port, method) {
    const { Client, credentials } = require('@grpc/grpc-js');
    const client = new Client(`${host}:${port}`, credentials.createInsecure());
    await peer.act(
      () =>
        new Promise((resolve, reject) => {
          client.makeUnaryRequest(`/${method}`, same, same, GRPC_BODY, (error, reply) => {
            if (error) return reject(error);
            assert.deepEqual(reply, GRPC_BODY);
            return resolve();
          });
        }),
    );
    client.close();
  },

  async serve(peer, host, port, method) {
    const { Server, ServerCredentials } = require('@grpc/grpc-js');
    const server = new Server();
    const definition = {
      path: `/${method}`,
      requestStream: false,
      responseStream: false,
      requestSerialize: same,
      requestDeserialize: same,
      responseSerialize: same,
      responseDeserialize: same,
    };
    const handle = (call, done) => {
      peer.took();
      done(null, call.request);
    };
    server.addService({ greet: definition }, { greet: handle });
    // The server ends when the client has gone: where it closes itself, Node.js 18 may leave the trailers unsent.
    const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
    const listener = require('node:net').createServer((socket) => {
      socket.on('close', () => listener.close());
      injector.injectConnection(socket);
    });
    await new Promise((resolve) => listener.listen(port, host, resolve));
    peer.ready(listener.address().port);
    await new Promise((resolve) => listener.on('close', resolve));
    injector.destroy();
    server.forceShutdown();
  },
};

/** A client, and the topic made: KafkaJS does not wait for one that its naming makes. */
async function kafkaClient(host, port, topic) {
  const { Kafka, logLevel } = require('kafkajs');
  const retry = { initialRetryTime: 100, retries: 20 };
  const client = new Kafka({ brokers: [`${host}:${port}`], logLevel: logLevel.NOTHING, retry });
  const admin = client.admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic }], waitForLeaders: true });
  await admin.disconnect();
  return client;
}

const kafka = {
  instrumentations: () => [new (require('@opentelemetry/instrumentation-kafkajs').KafkaJsInstrumentation)()],

  async send(peer, host, port, topic) {
    const producer = (await kafkaClient(host, port, topic)).producer();
    await producer.connect();
    await peer.act(() => producer.send({ topic, messages: [{ value: BODY }] }));
    await producer.disconnect();
  },

  async receive(peer, host, port, topic) {
    const { randomUUID } = require('node:crypto');
    const consumer = (await kafkaClient(host, port, topic)).consumer({ groupId: randomUUID() });
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    peer.ready(); // from the beginning: whatever is sent from now on will be read
    await consumer.run({
      eachMessage: async ({ message }) => {
        assert.deepEqual(message.value, BODY);
        peer.took();
      },
    });
    await peer.taken;
    await consumer.disconnect();
  },
};

const rabbitmq = {
  instrumentations: () => [new (require('@opentelemetry/instrumentation-amqplib').AmqplibInstrumentation)()],

  async send(peer, host, port, queue) {
    const connection = await require('amqplib').connect(`amqp://${host}:${port}`);
    const channel = await connection.createConfirmChannel();
    await channel.assertQueue(queue, { durable: false });
    await peer.act(async () => {
      channel.sendToQueue(queue, BODY);
      await channel.waitForConfirms();
    });
    await connection.close();
  },

  async receive(peer, host, port, queue) {
    const connection = await require('amqplib').connect(`amqp://${host}:${port}`);
    const channel = await connection.createChannel();
    await channel.assertQueue(queue, { durable: false });
    await channel.consume(queue, (message) => {
      assert.deepEqual(message.content, BODY);
      peer.took();
      channel.ack(message);
    });
    peer.ready();
    await peer.taken;
    await channel.close();
    await connection.close();
  },
};

const mqtt = {
  instrumentations: none,

  async send(peer, host, port, topic) {
    const client = await require('mqtt').connectAsync(`mqtt://${host}:${port}`, { protocolVersion: 5 });
    await peer.act(() => client.publishAsync(topic, BODY, { qos: 1, properties: { userProperties: peer.injected() } }));
    await client.endAsync();
  },

  async receive(peer, host, port, topic) {
    const client = await require('mqtt').connectAsync(`mqtt://${host}:${port}`, { protocolVersion: 5 });
    client.on('message', (_, payload, packet) => {
      assert.deepEqual(payload, BODY);
      peer.extracted({ ...packet.properties.userProperties });
    });
    await client.subscribeAsync(topic, { qos: 1 });
    peer.ready();
    await peer.taken;
    await client.endAsync();
  },
};

const nats = {
  instrumentations: none,

  async send(peer, host, port, subject) {
    const { connect, headers } = require('nats');
    const connection = await connect({ servers: `${host}:${port}` });
    await peer.act(async () => {
      const list = headers();
      Object.entries(peer.injected()).forEach(([name, value]) => list.set(name, value));
      connection.publish(subject, BODY, { headers: list });
    });
    await connection.drain();
  },

  async receive(peer, host, port, subject) {
    const { connect } = require('nats');
    const connection = await connect({ servers: `${host}:${port}` });
    connection.subscribe(subject, {
      callback: (error, message) => {
        assert.equal(error, null);
        assert.equal(message.string(), 'hello');
        const names = message.headers ? message.headers.keys() : [];
        peer.extracted(Object.fromEntries(names.map((name) => [name, message.headers.get(name)])));
      },
    });
    await connection.flush();
    peer.ready();
    await peer.taken;
    await connection.drain();
  },
};

const amqp1Options = (host, port) => ({ host, port, username: 'guest', password: 'guest', reconnect: false });

const amqp1 = {
  instrumentations: none,

  async send(peer, host, port, address) {
    const connection = require('rhea').create_container().connect(amqp1Options(host, port));
    const sender = connection.open_sender(address);
    await new Promise((resolve) => sender.once('sendable', resolve));
    const accepted = new Promise((resolve) => sender.once('accepted', resolve));
    await peer.act(async () => {
      sender.send({ body: 'hello', application_properties: peer.injected() });
      await accepted;
    });
    connection.close();
  },

  async receive(peer, host, port, address) {
    const connection = require('rhea').create_container().connect(amqp1Options(host, port));
    const receiver = connection.open_receiver(address);
    receiver.once('receiver_open', () => peer.ready());
    receiver.once('message', ({ message }) => {
      const { body } = message;
      assert.equal((typeof body === 'string' ? body : Buffer.from(body.content || body)).toString(), 'hello');
      peer.extracted(message.application_properties || {});
    });
    await peer.taken;
    connection.close();
  },
};

function redisClient(host, port) {
  const { Redis } = require('ioredis');
  return new Redis(port, host);
}

const redis = {
  instrumentations: none,

  async send(peer, host, port, stream) {
    const client = redisClient(host, port);
    await peer.act(() => client.xadd(stream, '*', 'body', 'hello', ...Object.entries(peer.injected()).flat()));
    await client.quit();
  },

  async receive(peer, host, port, stream) {
    const client = redisClient(host, port);
    peer.ready();
    let found = null;
    while (!found) found = await client.xread('COUNT', 1, 'BLOCK', 1000, 'STREAMS', stream, '0');
    const [[, [[, pairs]]]] = found;
    const fields = {};
    for (let i = 0; i < pairs.length; i += 2) fields[pairs[i]] = pairs[i + 1];
    assert.equal(fields.body, 'hello');
    peer.extracted(fields);
    await client.quit();
  },
};

module.exports = { http, grpc, kafka, rabbitmq, mqtt, nats, amqp1, redis };

// One Kafka broker that is its own controller; the jars are those of the tests.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findKafka } from '../../packages/server/test/engines/kafka-program.ts';
import { Child } from '../child.ts';
import { serverCore } from '../pin.ts';
import { TemporaryDirectory } from '../temporary.ts';
import type { Broker, Sync } from './broker.ts';
import { freePort, listens } from './target.ts';

const startedWithin = 30_000;
/** Requests by which something is read, as its request log names them. */
const reads = ['FETCH', 'LIST_OFFSETS'] as const;

export async function startKafka(sync: Sync): Promise<Broker> {
  const libraries = findKafka();
  if (libraries === undefined)
    throw new Error('kafka: no Java or no jars of Kafka; npm test fetches them, or set KAFKA_HOME');
  const port = await freePort();
  const controllerPort = await freePort();
  await using stack = new AsyncDisposableStack();
  const home = stack.use(new TemporaryDirectory());
  const properties = join(home.path, 'server.properties');
  const said = join(home.path, 'said');
  writeFileSync(properties, propertiesOf(port, controllerPort, home.path, sync));
  const java = [
    '-Xms256m',
    '-Xmx512m',
    '-XX:+UseSerialGC',
    `-Dorg.slf4j.simpleLogger.logFile=${said}`,
    '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
    // a line for each request
    '-Dorg.slf4j.simpleLogger.log.kafka.request.logger=debug',
    '-cp',
    join(libraries, '*'),
  ];
  const format = ['kafka.tools.StorageTool', 'format', '-t', 'tailracetailracetailra', '-c', properties];
  const formatted = spawnSync('java', [...java, ...format], { encoding: 'utf8' });
  if (formatted.status !== 0) throw new Error(`kafka could not be formatted: ${formatted.stderr}`);
  const child = stack.use(new Child('kafka', serverCore, 'java', [...java, 'kafka.Kafka', properties]));
  await child.ready(() => listens(port), startedWithin);
  const all = stack.move();
  return {
    url: `kafka://127.0.0.1:${port}`,
    settings: [],
    pids: () => child.pids(),
    calls: async () => callsOf(readFileSync(said, 'latin1')),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

function propertiesOf(port: number, controllerPort: number, home: string, sync: Sync): string {
  const properties = {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': `1@127.0.0.1:${controllerPort}`,
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${port}`,
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'controller.listener.names': 'CONTROLLER',
    'log.dirs': join(home, 'data'),
    'offsets.topic.replication.factor': '1',
    'auto.create.topics.enable': 'false',
    ...(sync === 'always' ? { 'log.flush.interval.messages': '1' } : {}),
  };
  return Object.entries(properties)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');
}

function callsOf(said: string): Map<string, number> {
  const count = (name: string): number => said.split(`"requestApiKeyName":"${name}"`).length - 1;
  return new Map(reads.map(name => [name, count(name)]));
}

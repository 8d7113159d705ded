import { createInterface } from 'node:readline';
import { openKafkaLog } from '../../src/engines/kafka/kafka-log.ts';
import { openNatsLog } from '../../src/engines/nats/nats-log.ts';

/** A node with one member, which claims what it is told to and holds it until it is told to ack: `url name deadline`. */
const [url, name, deadline] = process.argv.slice(2) as [string, string, string];
const log = await (url.startsWith('nats') ? openNatsLog({ url, name, synced: true }) : openKafkaLog({ url, name }));
const group = await log.groups.open('work', { filters: ['job/#'], after: 0, ackDeadline: Number(deadline) });
const { deliveries } = await group.claim('child', 5);
process.stdout.write(`holds ${deliveries.map(({ offset }) => offset).join(' ')}\n`);
for await (const line of createInterface({ input: process.stdin }))
  process.stdout.write(`${line} ${(await group.ack('child', deliveries)).join(' ')}\n`);
await log.close();

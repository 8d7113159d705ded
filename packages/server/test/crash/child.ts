/**
 * Appends to a log with several writers until it is killed, and writes down what was acknowledged and what a follower of
 * the log received: one line `topic offset id` each, written synchronously, so that a SIGKILL loses none that was told.
 * Arguments: directory, file of acks, file of what was received, seed, segment bytes.
 */
import * as fs from 'node:fs';
import { openDiskLog } from '../../src/log/index.ts';
import { SeededRandom } from '../log/seeded-random.ts';
import { plainMessage } from './plain-message.ts';

const [directory, ackFile, receivedFile, seedText, segmentBytes] = process.argv.slice(2);
const random = new SeededRandom(Number(seedText));
const acks = fs.openSync(ackFile!, 'a');
const received = fs.openSync(receivedFile!, 'a');
const log = await openDiskLog({
  directory: directory!,
  segmentBytes: Number(segmentBytes),
  onReport: report => fs.writeSync(1, `${report.kind}: ${report.message}\n`),
});
log.tail({
  onCommit(batch) {
    const lines = Array.from(batch.records(), ({ topic, offset, id }) => `${topic} ${offset} ${id}\n`);
    fs.writeSync(received, lines.join(''));
  },
});
fs.writeSync(1, 'ready\n');

const writers = 1 + random.below(24);
for (let w = 0; w < writers; w++) void write(w);

async function write(writer: number): Promise<never> {
  const topic = `writer/${writer % 7}`;
  for (let n = 0; ; n++) {
    const count = random.chance(0.2) ? 1 + random.below(20) : 1;
    const size = random.chance(0.05) ? random.below(20_000) : random.below(300);
    const durability = random.chance(0.3) ? 'written' : 'fsync';
    const messages = Array.from({ length: count }, (_, i) =>
      plainMessage(topic, 'x'.repeat(size), `${seedText}-${writer}-${n}-${i}`),
    );
    const results = await log.append(messages, durability);
    const lines = results.map((result, i) => {
      if ('error' in result) throw result.error;
      return `${topic} ${result.offset} ${messages[i]!.id}\n`;
    });
    fs.writeSync(acks, lines.join(''));
  }
}

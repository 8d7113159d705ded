/**
 * Appends to a log with several writers until it is killed, and writes down what was acknowledged: one line
 * `topic offset id durability` an ack, written synchronously, so that a SIGKILL loses none that was told.
 * Arguments: directory, file of acks, seed, segment bytes.
 */
import * as fs from 'node:fs';
import { openDiskLog } from '../../src/log/index.ts';
import { SeededRandom } from '../log/seeded-random.ts';
import { plainMessage } from './plain-message.ts';

const [directory, ackFile, seedText, segmentBytes] = process.argv.slice(2);
const random = new SeededRandom(Number(seedText));
const acks = fs.openSync(ackFile!, 'a');
const log = await openDiskLog({
  directory: directory!,
  segmentBytes: Number(segmentBytes),
  onReport: report => fs.writeSync(1, `${report.kind}: ${report.message}\n`),
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
      return `${topic} ${result.offset} ${messages[i]!.id} ${durability}\n`;
    });
    fs.writeSync(acks, lines.join(''));
  }
}

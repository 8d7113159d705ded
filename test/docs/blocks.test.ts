import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KafkaProducers } from '../../packages/server/test/engines/kafka-producers.ts';
import { findKafka } from '../../packages/server/test/engines/kafka-program.ts';
import { KafkaServer } from '../../packages/server/test/engines/kafka-server.ts';
import { isMissing } from './engine-programs.ts';
import { pages, values } from './page.ts';
import { Stage } from './stage.ts';

const all = pages();
/** npx alone takes seconds on a busy machine. */
const slow = 120_000;
const shells = ['sh', 'console', 'bash', 'shell'];

test('shell blocks are written as sh, which can be pasted', () => {
  const others = all.flatMap(({ path, blocks }) =>
    blocks
      .filter(({ language }) => shells.includes(language) && language !== 'sh')
      .map(({ line }) => `${path}:${line}`),
  );
  expect(others).toEqual([]);
});

test('these blocks, and no others, are not run', () => {
  const skipped = all.flatMap(({ path, blocks }) =>
    blocks.flatMap(block => values(block, 'skip').map(reason => `${path}: ${block.text.split('\n')[0]} (${reason})`)),
  );
  expect(skipped).toEqual([
    'CONTRIBUTING.md: npm run check (checks the whole repository; CI runs it)',
    'README.md: npm ci && npm start (installs this repository; CI does it on a fresh checkout)',
    'README.md: npm ci && npm test (it would run itself)',
    "docs/operations.md: sudo tee /etc/sysctl.d/60-tailrace.conf <<'END' (changes the machine, needs root)",
  ]);
});

for (const { path, blocks } of all) {
  const played = blocks.filter(
    block => values(block, 'skip').length === 0 && (block.language === 'sh' || block.markers.length > 0),
  );
  if (played.length === 0) continue;
  const needsKafka = played.some(({ text }) => text.includes('--kafka.bridge'));
  const isIncomplete = played.some(({ text }) => isMissing(text)) || (needsKafka && findKafka() === undefined);
  describe.skipIf(isIncomplete)(path, () => {
    let stage: Stage;
    let kafka: KafkaServer | undefined;
    beforeAll(async () => {
      if (needsKafka) kafka = await startKafka();
      stage = await Stage.open('', new Map(kafka === undefined ? [] : [['9092', kafka.port]]));
    }, slow);
    afterAll(async () => {
      await stage?.[Symbol.asyncDispose]();
      await kafka?.stop('SIGKILL');
    });

    for (const block of played) {
      const title = `line ${block.line}: ${block.text.split('\n')[0]}`;
      test(title, () => stage.play(block), slow);
    }
  });
}

/** The Kafka that readers have already. */
async function startKafka(): Promise<KafkaServer> {
  const kafka = await KafkaServer.start();
  await using others = new KafkaProducers(kafka);
  await others.create('orders', 3);
  await others.create('prices', 1);
  return kafka;
}

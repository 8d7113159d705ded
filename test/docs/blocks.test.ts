import { afterAll, beforeAll, describe, expect, test } from 'vitest';
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
  describe.skipIf(played.some(({ text }) => isMissing(text)))(path, () => {
    let stage: Stage;
    beforeAll(async () => {
      stage = await Stage.open();
    }, slow);
    afterAll(() => stage?.[Symbol.asyncDispose]());

    for (const block of played) {
      const title = `line ${block.line}: ${block.text.split('\n')[0]}`;
      test(title, () => stage.play(block), slow);
    }
  });
}

import fc from 'fast-check';
import { describe, test } from 'vitest';
import { poll, sse, webSocket } from '../../src/index.ts';
import { History, type HistoryOptions } from './history.ts';

async function histories(options: HistoryOptions, count: number): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.integer(), seed => new History(seed, options).run()),
    { numRuns: count },
  );
}

describe('over a network that fails as it likes every reader is given everything in order, once', () => {
  for (const transport of [webSocket, sse, poll])
    test(`by ${transport.name}`, () => histories({ transports: [transport], pages: 1 }, 300));

  test('by whatever works', () => histories({ transports: [webSocket, sse, poll], pages: 1 }, 300));

  test('in several tabs', () => histories({ transports: [webSocket, sse, poll], pages: 3 }, 200));

  for (const transport of [webSocket, sse, poll])
    test(`in several tabs that share one connection by ${transport.name}`, () =>
      histories({ transports: [transport], pages: 3, share: true }, 200));
});

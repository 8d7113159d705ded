import { checkMessage, filterSet, parseCursor } from '@tailrace/protocol';
import { describe, expect, it } from 'vitest';
import type { Encoding, Session } from '../../src/hub/index.ts';
import { openMemoryLog } from '../../src/log/index.ts';
import { chainedEncoding, plainEncoding, type Received, SimulatedClock, SimulatedOutlet, SimulatedOwner, seeded, settle, simulatedHub } from './simulation.ts';

const filterChoices = [['a/0'], ['a/1'], ['a/+'], ['#'], ['a/0', 'a/#'], ['b/x', 'a/2'], ['b/#'], ['a/0', 'a/1', 'a/2']];

interface Reader {
  readonly outlet: SimulatedOutlet;
  readonly session: Session;
  readonly filters: readonly string[];
  readonly chained: boolean;
  readonly start: number;
}

/**
 * Random histories of publishing, joining, leaving, stalling and reading on, with slices that end anywhere: whatever
 * happens, each reader has seen exactly the matching records beyond its cursor, in order, once (I3), and its chain of
 * cursors never breaks.
 */
async function runHistory(seed: number): Promise<number> {
  const random = seeded(seed);
  const clock = new SimulatedClock();
  const log = openMemoryLog({ clock: clock.forLog, hotBytes: 1_000_000 });
  const hub = simulatedHub(log, clock, random);
  const owner = new SimulatedOwner(() => hub);
  const readers: Reader[] = [];
  const published: { offset: number; topic: string }[] = [];

  const publish = async (count: number): Promise<void> => {
    const messages = Array.from({ length: count }, () => {
      const topic = ['a/0', 'a/1', 'a/2', 'b/x'][random.int(4)]!;
      return checkMessage(topic, Buffer.from(`"${'x'.repeat(random.int(300))}"`), {});
    });
    const results = await log.append(messages, 'fsync');
    results.forEach((result, i) => {
      if ('error' in result) throw result.error;
      published.push({ offset: result.offset, topic: messages[i]!.topic });
    });
  };

  const join = async (): Promise<void> => {
    const chained = random.int(2) === 0;
    const encoding: Encoding = chained ? chainedEncoding : plainEncoding;
    const filters = filterChoices[random.int(filterChoices.length)]!;
    const outlet = new SimulatedOutlet(random.int(2) === 0 ? 500 + random.int(5000) : Number.POSITIVE_INFINITY);
    const session = hub.openSession('test', outlet, encoding, owner);
    const set = filterSet(filters);
    const head = log.head.offset;
    const at = random.int(head + 1);
    const time = at === 0 ? 0 : (log.hot.timeAt(at) ?? 0);
    const request =
      random.int(3) === 0
        ? { cursor: undefined, from: 'now' }
        : random.int(4) === 0
          ? { cursor: undefined, from: 'earliest' }
          : { cursor: hub.tokens.of(at, time), from: undefined };
    const start = await hub.resolveStart(set, request);
    let from = -1;
    hub.subscribe(session, 's', set, start, cursor => {
      from = parseCursor(cursor).offset;
    });
    readers.push({ outlet, session, filters, chained, start: from });
  };

  for (let step = 0; step < 120; step++) {
    switch (random.int(8)) {
      case 0:
      case 1:
        await publish(1 + random.int(random.int(10) === 0 ? 400 : 6));
        break;
      case 2:
        if (readers.length < 14) await join();
        break;
      case 3: {
        const reader = readers[random.int(readers.length)];
        reader?.outlet.drain(random.int(4000));
        break;
      }
      case 4: {
        if (random.int(6) === 0 && readers.length > 0) {
          const [gone] = readers.splice(random.int(readers.length), 1);
          hub.closeSession(gone!.session);
        }
        break;
      }
      case 5:
        clock.advance(random.int(1500));
        break;
      default:
        for (let i = random.int(4); i >= 0; i--) clock.turn();
    }
  }
  // everyone reads again: now all has to arrive
  for (let round = 0; round < 200; round++) {
    for (const reader of readers) reader.outlet.drain(Number.POSITIVE_INFINITY);
    const busy = clock.turn();
    await settle(1);
    if (!busy && readers.every(reader => reader.session.apart.length === 0)) break;
    if (round % 20 === 19) clock.advance(1000);
  }
  for (const reader of readers) checkReader(reader, published, seed);
  expect(hub.cohorts.size, `seed ${seed}`).toBe(new Set(readers.map(reader => `${reader.chained} ${filterSet(reader.filters).key}`)).size);
  for (const reader of readers) hub.closeSession(reader.session);
  expect(hub.cohorts.size).toBe(0);
  expect(hub.index.filterCount).toBe(0);
  expect(hub.catchUp.lagging.size).toBe(0);
  expect(hub.catchUp.pinnedBytes).toBe(0);
  hub.close();
  await log.close();
  return readers.length;
}

function checkReader(reader: Reader, published: readonly { offset: number; topic: string }[], seed: number): void {
  const set = filterSet(reader.filters);
  const expected = published.filter(record => record.offset > reader.start && set.matches(record.topic)).map(record => record.offset);
  const received = reader.outlet.received();
  const got = received.flatMap(item => (item.kind === 'frame' ? [] : item.offsets));
  expect(got, `seed ${seed}, filters ${reader.filters.join(' ')}, from ${reader.start}`).toEqual(expected);
  if (reader.chained) checkChain(received, reader.start, seed);
}

function checkChain(received: readonly Received[], start: number, seed: number): void {
  let last: string | undefined;
  for (const item of received) {
    const link = item.kind === 'frame' ? (item.frame.type === 'cursor' ? item.frame : undefined) : item.kind === 'messages' ? item : undefined;
    if (link === undefined) continue;
    if (last === undefined) expect(parseCursor(link.after!).offset, `seed ${seed}`).toBe(start);
    else expect(link.after, `seed ${seed}`).toBe(last);
    last = link.cursor;
  }
}

describe('delivery', () => {
  it('I3: every reader gets exactly its records, in order, once, with an unbroken chain, in 400 random histories', async () => {
    let readers = 0;
    for (let seed = 1; seed <= 400; seed++) readers += await runHistory(seed);
    expect(readers).toBeGreaterThan(1000);
  });
});

import { beforeEach, expect, test } from 'vitest';
import { EngineBreaker } from '../../src/admission/index.ts';
import { ManualClock } from '../log/manual-clock.ts';

let clock: ManualClock;
let reports: string[];
let breaker: EngineBreaker;
/** What each probe does when it is asked. */
let roundTrip: () => Promise<void>;
let tail: () => Promise<void>;

beforeEach(() => {
  clock = new ManualClock();
  reports = [];
  roundTrip = () => Promise.resolve();
  tail = () => Promise.resolve();
  breaker = new EngineBreaker(
    [
      { name: 'round trip', slowMs: 500, run: () => roundTrip() },
      { name: 'tail', slowMs: 200, run: () => tail() },
    ],
    clock,
    ({ kind, message }) => reports.push(`${kind}: ${message}`),
  );
});

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve));

/** Lets each probe run once, to its end or its time-out. */
async function round(): Promise<void> {
  for (let ms = 0; ms < 5000; ms += 100) {
    clock.advance(100);
    await turn();
  }
}

async function rounds(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await round();
}

const fails = () => Promise.reject(new Error('connection refused'));
const hangs = () => new Promise<void>(() => {});

test('it stays out of the way of an engine that answers, and of a log without one', async () => {
  await rounds(10);
  expect(() => breaker.admit()).not.toThrow();
  expect([breaker.state, breaker.reason, reports]).toEqual(['healthy', undefined, []]);
  breaker.close();
  expect(clock.timers).toBe(0);
  expect(new EngineBreaker([], clock, () => {}).state).toBe('healthy');
  expect(clock.timers).toBe(0);
});

test('two failures in a row are no outage, and three are', async () => {
  roundTrip = fails;
  await rounds(2);
  roundTrip = () => Promise.resolve();
  await round();
  expect(() => breaker.admit()).not.toThrow();
  roundTrip = fails;
  await rounds(3);
  expect(() => breaker.admit()).toThrow(
    expect.objectContaining({
      code: 'engine_unavailable',
      retryAfter: 5000,
      message: expect.stringMatching(/refused/),
    }),
  );
  expect(breaker.refused).toBe(1);
  expect(breaker.reason).toBe('the round trip failed 3 times in a row: connection refused');
  breaker.close();
});

test('either probe is enough, and one that hangs has failed', async () => {
  tail = hangs;
  await rounds(4);
  expect(breaker.state).toBe('isolated');
  expect(breaker.reason).toBe('the tail failed 3 times in a row: no answer within 800 ms');
  breaker.close();
});

test('it ends by itself with the first round in which no probe fails', async () => {
  roundTrip = fails;
  await rounds(4);
  expect(breaker.state).toBe('isolated');
  roundTrip = () => Promise.resolve();
  await round();
  expect(breaker.state).toBe('healthy');
  expect(() => breaker.admit()).not.toThrow();
  expect(reports.map(report => report.split(':')[0])).toEqual(['engine_degraded', 'engine_isolated', 'engine_healthy']);
  breaker.close();
});

test('slow is told, and refuses nothing', async () => {
  tail = () => new Promise(resolve => clock.after(300, resolve));
  await rounds(2);
  expect(breaker.state).toBe('degraded');
  expect(() => breaker.admit()).not.toThrow();
  expect(reports).toEqual(['engine_degraded: the engine is slow: the tail took 300 ms']);
  expect(breaker.times()).toEqual([
    ['round trip', 0],
    ['tail', 300],
  ]);
  breaker.close();
});

import { checkMessage, isTailraceError, type Message, type MessageFields, TailraceError } from '@tailrace/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import { Brake, type Published, Publisher } from '../../src/hub/index.ts';
import { type Appended, type AppendFailure, type Log, openMemoryLog } from '../../src/log/index.ts';
import { SimulatedClock, settle } from './simulation.ts';

const message = (topic: string, fields: MessageFields = {}): Message => checkMessage(topic, Buffer.from('1'), fields);

const summary = (results: readonly Published[]): unknown[] =>
  results.map(result =>
    typeof result === 'symbol' ? result.description : 'error' in result ? result.error.code : result.offset,
  );

async function rejection(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    return isTailraceError(error) ? error.code : String(error);
  }
  return 'none';
}

describe('the publisher', () => {
  let clock: SimulatedClock;
  let log: Log;
  let brake: Brake;
  let passed: string[];
  let appended: { topics: string[]; durability: string }[];
  let append: (messages: readonly Message[]) => Promise<readonly (Appended | AppendFailure)[]> | undefined;
  let publisher: Publisher;

  beforeEach(() => {
    clock = new SimulatedClock();
    const memory = openMemoryLog({ clock: clock.forLog });
    appended = [];
    append = () => undefined;
    log = new Proxy<Log>(memory, {
      get(target, name) {
        if (name === 'append')
          return (messages: readonly Message[], durability: 'fsync' | 'written') => {
            appended.push({ topics: messages.map(({ topic }) => topic), durability });
            return append(messages) ?? memory.append(messages, durability);
          };
        const value = Reflect.get(target, name, target) as unknown;
        return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value;
      },
    });
    brake = new Brake(100, 200);
    passed = [];
    publisher = new Publisher({
      log,
      brake,
      breaker: { reason: undefined, admit: () => {} },
      clock,
      durability: 'fsync',
      rules: [
        { filter: 'live/#', durability: 'none' },
        { filter: 'cheap/+', durability: 'written' },
      ],
      deadline: 3000,
      passOn: ({ topic }) => passed.push(topic),
    });
  });

  it('gives each message its own class, else that of the first rule that matches, else the default', () => {
    expect(publisher.durabilityOf(message('a'))).toBe('fsync');
    expect(publisher.durabilityOf(message('cheap/a'))).toBe('written');
    expect(publisher.durabilityOf(message('cheap/a/b'))).toBe('fsync');
    expect(publisher.durabilityOf(message('live/a/b'))).toBe('none');
    expect(publisher.durabilityOf(message('live/a', { durability: 'fsync' }))).toBe('fsync');
  });

  it('appends a batch at once, with the strongest class in it', async () => {
    expect(summary(await publisher.publish([message('cheap/a'), message('a'), message('cheap/b')]))).toEqual([1, 2, 3]);
    expect(summary(await publisher.publish([message('cheap/a')]))).toEqual([4]);
    expect(appended).toEqual([
      { topics: ['cheap/a', 'a', 'cheap/b'], durability: 'fsync' },
      { topics: ['cheap/a'], durability: 'written' },
    ]);
  });

  it('stops at the first failure: what follows is not appended', async () => {
    await publisher.publish([message('a', { end: true })]);
    expect(summary(await publisher.publish([message('b'), message('a'), message('c')]))).toEqual([2, 'topic_ended']);
    expect(log.head.offset).toBe(2);
  });

  it('passes class `none` on in its place between stored messages, after those before it are committed', async () => {
    const order: string[] = [];
    log.tail({ onCommit: batch => order.push(...[...batch.records()].map(({ topic }) => topic)) });
    const pushing = publisher.publish([
      message('a'),
      message('live/1'),
      message('live/2'),
      message('b'),
      message('live/3'),
    ]);
    expect(passed).toEqual([]);
    expect(summary(await pushing)).toEqual([1, 'passed on', 'passed on', 2, 'passed on']);
    expect(passed).toEqual(['live/1', 'live/2', 'live/3']);
    expect(order).toEqual(['a', 'b']);
    expect(appended.map(({ topics }) => topics)).toEqual([['a'], ['b']]);
  });

  it('does not pass on what stands behind a failure', async () => {
    await publisher.publish([message('a', { end: true })]);
    const results = await publisher.publish([
      message('live/1'),
      message('b'),
      message('a'),
      message('live/2'),
      message('c'),
    ]);
    expect(summary(results)).toEqual(['passed on', 2, 'topic_ended']);
    expect(passed).toEqual(['live/1']);
    expect(log.head.offset).toBe(2);
  });

  it('says what became of those before, when the log gives up in the middle of a mixed batch', async () => {
    let calls = 0;
    append = () => (++calls === 2 ? Promise.reject(new TailraceError('log_full', 'no space')) : undefined);
    const results = await publisher.publish([message('a'), message('live/1'), message('b'), message('live/2')]);
    expect(summary(results)).toEqual([1, 'passed on', 'log_full']);
    expect(passed).toEqual(['live/1']);
  });

  it('rejects when nothing of the batch was appended, and keeps what is not ours as the cause', async () => {
    append = () => Promise.reject(new TailraceError('log_fenced', 'broken'));
    expect(await rejection(publisher.publish([message('a'), message('live/1')]))).toBe('log_fenced');
    const fault = new Error('disk on fire');
    append = () => Promise.reject(fault);
    await expect(publisher.publish([message('a')])).rejects.toMatchObject({ code: 'internal', cause: fault });
    expect(passed).toEqual([]);
    expect(publisher.inFlight).toBe(0);
  });

  it('gives up after the deadline, saying that the outcome is unknown', async () => {
    let finish: (results: readonly Appended[]) => void = () => {};
    append = () => new Promise(resolve => (finish = resolve));
    const late = publisher.publish([message('a')]);
    const verdict = late.then(
      () => 'answered',
      (error: TailraceError) => error.toProblem(),
    );
    await settle(1);
    publisher.sweep();
    expect(publisher.inFlight).toBe(1);
    clock.ms += 3001;
    publisher.sweep();
    expect(await verdict).toMatchObject({ code: 'deadline_exceeded', outcome: 'unknown' });
    expect(publisher.inFlight).toBe(0);
    finish([{ offset: 1, time: 1, duplicate: false }]);
    await settle(1);
    expect(publisher.inFlight).toBe(0);
  });

  it('holds acks while delivery lags, and refuses beyond the limit before anything is appended', async () => {
    brake.update(150);
    let answered = false;
    const held = publisher.publish([message('a')]).then(() => (answered = true));
    await settle(3);
    expect(log.head.offset).toBe(1);
    expect(answered).toBe(false);
    expect(publisher.inFlight).toBe(1);
    brake.update(300);
    expect(await rejection(publisher.publish([message('b'), message('live/1')]))).toBe('overloaded');
    expect(log.head.offset).toBe(1);
    expect(passed).toEqual([]);
    brake.update(50);
    await held;
    expect(publisher.inFlight).toBe(0);
  });

  it('acks at the deadline what is committed and held, counted from the beginning of the publish', async () => {
    let finish: (results: readonly Appended[]) => void = () => {};
    append = () => new Promise(resolve => (finish = resolve));
    let answer: unknown;
    const publishing = publisher.publish([message('a')]).then(results => (answer = results));
    clock.ms += 2000;
    brake.update(150);
    finish([{ offset: 1, time: 1, duplicate: false }]);
    await settle(1);
    publisher.sweep();
    await settle(1);
    expect([answer, brake.heldCount, publisher.inFlight]).toEqual([undefined, 1, 1]);
    clock.ms += 1001;
    publisher.sweep();
    await publishing;
    expect(answer).toEqual([{ offset: 1, time: 1, duplicate: false }]);
    expect([brake.lag, brake.heldCount, publisher.inFlight]).toEqual([150, 0, 0]);
    brake.update(0);
  });

  it('gives a publish the deadline it names, and others that of the server', async () => {
    append = () => new Promise(() => {});
    const verdicts: string[] = [];
    const ask = (name: string, deadline?: number): void => {
      publisher.publish([message('a')], deadline).catch((error: TailraceError) => {
        verdicts.push(`${name}: ${error.code}`);
      });
    };
    ask('usual');
    ask('named', 500);
    clock.advance(400);
    publisher.sweep();
    await settle(1);
    expect([verdicts, publisher.deadlineCount]).toEqual([[], 2]);
    clock.advance(200);
    publisher.sweep();
    await settle(1);
    expect([verdicts, publisher.deadlineCount]).toEqual([['named: deadline_exceeded'], 1]);
    clock.advance(3000);
    publisher.sweep();
    await settle(1);
    expect([verdicts, publisher.deadlineCount]).toEqual([['named: deadline_exceeded', 'usual: deadline_exceeded'], 0]);
    expect(publisher.inFlight).toBe(0);
  });

  it('takes nothing new while it drains, and answers what it took', async () => {
    const before = publisher.publish([message('a')]);
    publisher.draining = true;
    expect(await rejection(publisher.publish([message('b')]))).toBe('draining');
    expect(summary(await before)).toEqual([1]);
    expect(log.head.offset).toBe(1);
  });

  it('keeps the order of calls', async () => {
    const calls = [];
    for (let i = 0; i < 50; i++) calls.push(publisher.publish([message('a'), message('a')]));
    const results = (await Promise.all(calls)).flatMap(summary);
    expect(results).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
  });
});

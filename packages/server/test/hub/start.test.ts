import { checkMessage, filterSet, formatCursor, isTailraceError } from '@tailrace/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import { Newest } from '../../src/hub/newest.ts';
import { resolveStart, type Start, type StartRequest } from '../../src/hub/start.ts';
import { type Log, openMemoryLog } from '../../src/log/index.ts';
import { PlainTokens } from '../../src/log/tokens.ts';
import { SimulatedClock } from './simulation.ts';

const set = filterSet(['a/#']);

describe('where a subscription begins', () => {
  let clock: SimulatedClock;
  let log: Log;
  let began: number;

  // records 1–10, one a second: odd ones a/1, even ones b
  beforeEach(async () => {
    clock = new SimulatedClock();
    clock.readCost = 0;
    began = clock.now();
    log = openMemoryLog({ clock: clock.forLog });
    for (let i = 1; i <= 10; i++) {
      clock.ms += 1000;
      await log.append([checkMessage(i % 2 === 1 ? 'a/1' : 'b', Buffer.from('1'), {})], 'fsync');
    }
  });

  const start = async (request: Partial<StartRequest>): Promise<Start> =>
    resolveStart(log, clock, { cursor: undefined, from: undefined, ...request }, set, (count, to) =>
      to === undefined ? new Newest(log).now(set, count) : new Newest(log).of(set, { count, to }),
    );
  const cursor = (
    offset: number,
    fields: Partial<{ log: string; epoch: number; time: number; snapshot: number }> = {},
  ): string => formatCursor({ log: log.id, epoch: log.head.epoch, offset, time: began + offset * 1000, ...fields });
  const at = (offset: number): object => ({ offset, time: offset === 0 ? 0 : began + offset * 1000 });

  it('now: at the head, wherever that is for its cohort', async () => {
    for (const from of [undefined, 'now']) {
      const result = await start({ from });
      expect(result).toMatchObject({ at: at(10), now: true, jump: undefined, recovered: undefined });
    }
  });

  it('earliest and @offset: before the record named, clamped to the log', async () => {
    expect(await start({ from: 'earliest' })).toMatchObject({ at: at(0), now: false, jump: undefined });
    expect(await start({ from: '@0' })).toMatchObject({ at: at(0) });
    expect(await start({ from: '@1' })).toMatchObject({ at: at(0) });
    expect(await start({ from: '@4' })).toMatchObject({ at: at(3) });
  });

  it('a time: before the first record that is not older', async () => {
    const iso = (ms: number): string => new Date(ms).toISOString();
    expect(await start({ from: iso(began + 4000) })).toMatchObject({ at: at(3) });
    expect(await start({ from: iso(began + 4001) })).toMatchObject({ at: at(4) });
    expect(await start({ from: iso(began) })).toMatchObject({ at: at(0) });
    expect(await start({ from: iso(began + 999_999) })).toMatchObject({ at: at(10) });
    expect(await start({ from: '-3s' })).toMatchObject({ at: at(6) });
    expect(await start({ from: '-2500ms' })).toMatchObject({ at: at(7) });
  });

  it('last: the newest of each topic, with a cursor before the first of them', async () => {
    expect(await start({ from: 'last:2' })).toMatchObject({
      at: at(6),
      snapshot: { offsets: Float64Array.of(7, 9), to: at(10) },
    });
    const nothing = filterSet(['x']);
    const empty = await resolveStart(log, clock, { cursor: undefined, from: 'last' }, nothing, count =>
      new Newest(log).now(nothing, count),
    );
    expect(empty).toMatchObject({ at: at(10), snapshot: undefined });
  });

  it('a good cursor: there, recovered, whatever `from` says', async () => {
    for (const offset of [0, 1, 5, 10]) {
      const result = resolveStart(log, clock, { cursor: cursor(offset), from: 'earliest' }, set, () =>
        Promise.reject(),
      );
      expect(result).not.toBeInstanceOf(Promise); // a reconnect storm must not cost a turn each
      expect(result).toMatchObject({ at: { offset }, recovered: true, jump: undefined, now: false });
    }
  });

  it('a cursor that retention overtook: a gap to the floor', async () => {
    await log.trim(6);
    expect(await start({ cursor: cursor(3) })).toMatchObject({
      at: { offset: 3 },
      recovered: false,
      jump: { type: 'gap', to: { offset: 6 } },
    });
    expect(await start({ cursor: cursor(6) })).toMatchObject({ recovered: true, jump: undefined });
    expect(await start({ from: 'earliest' })).toMatchObject({ jump: { type: 'gap', to: { offset: 6 } } });
    expect(await start({ from: '@3' })).toMatchObject({ jump: { type: 'gap', to: { offset: 6 } } });
    expect(await start({ from: '@7' })).toMatchObject({ at: { offset: 6 }, jump: undefined });
  });

  it('beyond the head: reset `ahead` to the head', async () => {
    const result = await start({ cursor: cursor(11) });
    expect(result).toMatchObject({
      recovered: false,
      at: at(10),
      jump: { type: 'reset', reason: 'ahead', to: at(10) },
    });
  });

  it('from an offset beyond the head: the same; from the next one there will be: nothing', async () => {
    expect(await start({ from: '@12' })).toMatchObject({
      recovered: undefined,
      at: at(10),
      jump: { type: 'reset', reason: 'ahead', to: at(10) },
    });
    expect(await start({ from: '@11' })).toMatchObject({ at: at(10), jump: undefined });
  });

  it('another log: reset to the time of the cursor', async () => {
    const result = await start({ cursor: cursor(500, { log: 'zzzzzzzz', time: began + 4001 }) });
    expect(result).toMatchObject({ recovered: false, jump: { type: 'reset', reason: 'epoch', to: at(4) } });
  });

  it('another log and no time: reset to what `from` says', async () => {
    const foreign = cursor(500, { log: 'zzzzzzzz', time: 0 });
    expect(await start({ cursor: foreign })).toMatchObject({ jump: { type: 'reset', to: at(10) } });
    expect(await start({ cursor: foreign, from: 'earliest' })).toMatchObject({ jump: { type: 'reset', to: at(0) } });
    expect(await start({ cursor: foreign, from: '@6' })).toMatchObject({ jump: { type: 'reset', to: at(5) } });
  });

  it('the middle of a snapshot: on with it, unless retention or loss took what follows', async () => {
    const within = (offset: number, snapshot: number): Promise<Start> =>
      start({ cursor: cursor(offset, { snapshot }) });
    expect(await within(2, 8)).toMatchObject({ at: at(2), recovered: true, jump: undefined });
    await log.trim(5);
    expect(await within(5, 8)).toMatchObject({ at: at(5), recovered: true, jump: undefined });
    expect(await within(2, 8)).toMatchObject({
      recovered: false,
      jump: { type: 'gap', to: { offset: 5 } },
      snapshot: undefined,
    });
    expect(await within(2, 4)).toMatchObject({
      recovered: false,
      jump: { type: 'gap', to: { offset: 5 } },
      snapshot: undefined,
    });
    Object.assign(log, { lost: [{ from: 9, to: 9 }] });
    expect(await within(6, 8)).toMatchObject({ at: at(6), recovered: false, jump: undefined });
  });

  it('an epoch that never was: reset to the time of the cursor', async () => {
    const result = await start({ cursor: cursor(7, { epoch: 1, time: began + 2000 }) });
    expect(result).toMatchObject({ recovered: false, jump: { type: 'reset', reason: 'epoch', to: at(1) } });
  });

  it('an earlier epoch: good up to its end, reset to its end beyond', async () => {
    // the same log as a later run sees it: epoch 1 ended at 6
    const later = new Proxy<Log>(log, {
      get(target, name) {
        if (name === 'tokens') return new PlainTokens(later);
        if (name === 'endOf') return (epoch: number) => (epoch === 1 ? 6 : target.endOf(epoch));
        const value = Reflect.get(target, name, target) as unknown;
        return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value;
      },
    });
    const ask = (offset: number): Promise<Start> | Start =>
      resolveStart(later, clock, { cursor: cursor(offset, { epoch: 1 }), from: undefined }, set, () =>
        Promise.reject(),
      );
    expect(await ask(6)).toMatchObject({ at: { offset: 6 }, recovered: true });
    expect(await ask(7)).toMatchObject({ recovered: false, jump: { type: 'reset', reason: 'epoch', to: at(6) } });
  });

  it('what is no cursor: refused', async () => {
    for (const bad of [
      '',
      'x',
      'kabcd.1.1',
      `${cursor(1)} `,
      cursor(1).replace('k', 'q'),
      'k'.repeat(2000),
      'kabcd.1.-1.1',
      'kabcd.1.99999999999999999999.1',
    ]) {
      const verdict = await start({ cursor: bad }).then(
        () => 'taken',
        (error: unknown) => (isTailraceError(error) ? error.code : String(error)),
      );
      expect(verdict, bad).toBe('cursor_invalid');
    }
    await expect(start({ from: 'yesterday' })).rejects.toMatchObject({ code: 'cursor_invalid' });
    await expect(start({ cursor: cursor(1), from: 'last:0' })).rejects.toMatchObject({ code: 'cursor_invalid' });
  });
});

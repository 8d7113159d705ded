import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { createTailrace, type ReceivedMessage, type Tailrace } from '../../src/index.ts';

const directory = mkdtempSync(join(tmpdir(), 'tailrace-embedded-'));
afterAll(() => rmSync(directory, { recursive: true }));

const open = (settings: Parameters<typeof createTailrace>[0] = {}): Promise<Tailrace> =>
  createTailrace({ engine: 'memory', log: { level: 'silent' }, ...settings });

/** All that a subscription gives until it ends by itself. */
async function all(messages: AsyncIterable<ReceivedMessage>): Promise<unknown[]> {
  const data: unknown[] = [];
  for await (const message of messages) data.push(message.data);
  return data;
}

const data = (result: IteratorResult<ReceivedMessage, void>): unknown => result.value?.data;

describe.each(['memory', 'disk'] as const)('closing on the engine %s', engine => {
  const settings = (name: string): Parameters<typeof createTailrace>[0] => ({
    engine,
    data: join(directory, `${engine}-${name}`),
  });

  test('ends a subscription that waits', async () => {
    const t = await open(settings('waits'));
    await t.publish('a', 1);
    const messages = t.subscribe('a', { from: 'earliest' });
    expect(data(await messages.next())).toBe(1);
    const next = messages.next();
    await t.close();
    expect(await next).toEqual({ done: true, value: undefined });
  });

  test('ends a subscription once what was committed before is given out', async () => {
    const t = await open(settings('behind'));
    for (let i = 1; i <= 3; i++) await t.publish('a', i);
    const messages = t.subscribe('a', { from: 'earliest' });
    expect(data(await messages.next())).toBe(1);
    await t.publish('a', 4);
    await t.close();
    expect(await all(messages)).toEqual([2, 3, 4]);
  });

  test('ends one that begins afterwards', async () => {
    const t = await open(settings('afterwards'));
    await t.publish('a', 1);
    await t.close();
    expect(await all(t.subscribe('#'))).toEqual([]);
  });
});

test('closing ends a subscription that is behind what memory holds, and its cursor goes on from there', async () => {
  const settings = {
    engine: 'disk',
    data: join(directory, 'cold'),
    hot: { bytes: 65_536 },
    limits: { message: 16_384 },
  } as const;
  const t = await open(settings);
  const bytes = 'x'.repeat(8000);
  for (let i = 0; i < 40; i++) await t.publish('a', `${i} ${bytes}`);
  const got: ReceivedMessage[] = [];
  const messages = t.subscribe('a', { from: 'earliest' });
  got.push((await messages.next()).value!);
  await t.close();
  for await (const message of messages) got.push(message);
  expect(got.length).toBeLessThan(40);
  await using again = await open(settings);
  await again.publish('a', 'over', { end: true });
  for await (const message of again.subscribe('a', { cursor: got.at(-1)!.cursor })) got.push(message);
  expect(got.map(message => (message.data as string).split(' ')[0])).toEqual([...Array(40).keys(), 'over'].map(String));
});

describe('the end of topics', () => {
  test('ends a subscription to that topic', async () => {
    await using t = await open();
    const live = all(t.subscribe('a', { from: 'earliest' }));
    await t.publish('a', 1);
    await t.publish('a', 2, { end: true });
    expect(await live).toEqual([1, 2]);
    expect(await all(t.subscribe('a', { from: 'earliest' }))).toEqual([1, 2]);
    expect(await all(t.subscribe('a', { from: 'last' }))).toEqual([2]);
  });

  test('ends one to several once the last of them has ended', async () => {
    await using t = await open();
    const messages = t.subscribe(['a', 'b'], { from: 'earliest' });
    await t.publish('a', 1, { end: true });
    await t.publish('b', 2);
    expect([data(await messages.next()), data(await messages.next())]).toEqual([1, 2]);
    await t.publish('b', 3, { end: true });
    expect(await all(messages)).toEqual([3]);
    // what ended before it began counts
    expect(await all(t.subscribe(['a', 'b'], { from: '@2' }))).toEqual([2, 3]);
  });

  test('does not end one with a wildcard', async () => {
    await using t = await open();
    const messages = t.subscribe(['a', 'b/#'], { from: 'earliest' });
    await t.publish('a', 1, { end: true });
    await t.publish('b', 2, { end: true });
    await t.publish('b/c', 3);
    const got = [await messages.next(), await messages.next(), await messages.next()];
    expect(got.map(data)).toEqual([1, 2, 3]);
  });
});

describe('class none', () => {
  const none = { durability: 'none' } as const;

  test('comes to one that waits, without an offset and with the cursor of what came before', async () => {
    await using t = await open();
    const messages = t.subscribe('a', { from: 'earliest' });
    await t.publish('a', 1);
    const first = (await messages.next()).value!;
    const next = messages.next();
    await t.publish('b', 0, none);
    await t.publish('a', 2, none);
    const live = (await next).value!;
    expect(live).toMatchObject({ topic: 'a', data: 2, cursor: first.cursor });
    expect(live).not.toHaveProperty('offset');
    await t.publish('a', 3, { end: true });
    expect(await all(messages)).toEqual([3]);
    expect(await all(t.subscribe('a', { cursor: live.cursor }))).toEqual([3]);
  });

  test('comes to one that is busy with the message before', async () => {
    await using t = await open();
    const messages = t.subscribe('a', { from: 'earliest' });
    await t.publish('a', 1);
    expect(data(await messages.next())).toBe(1);
    await t.publish('a', 2, none);
    await t.publish('a', 3);
    // its order relative to stored records is not promised
    expect([data(await messages.next()), data(await messages.next())].sort()).toEqual([2, 3]);
  });

  test('does not come to one that is away, nor to one that lags', async () => {
    await using t = await open();
    await t.publish('a', 'away', none);
    const messages = t.subscribe('a', { from: 'earliest' });
    await t.publish('a', 1);
    expect(data(await messages.next())).toBe(1);
    // more than it reads at a time
    const long = 'x'.repeat(70_000);
    for (let i = 0; i < 2; i++) await t.publish('a', long);
    expect(data(await messages.next())).toBe(long);
    await t.publish('a', 'lagging', none);
    expect(data(await messages.next())).toBe(long);
    const next = messages.next();
    await t.publish('a', 2, none);
    expect(data(await next)).toBe(2);
  });
});

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect, it } from 'vitest';
import { type CommonLogOptions, type Log, openDiskLog, openMemoryLog, systemClock } from '../../src/log/index.ts';
import { startApi } from '../api/api-server.ts';
import { temporaryDirectory } from '../log/temporary-directory.ts';

const onLinux = process.platform === 'linux';

async function metrics(url: string): Promise<Map<string, number>> {
  const response = await fetch(`${url}/metrics`);
  expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
  const values = new Map<string, number>();
  for (const line of (await response.text()).split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const [, name, value] = /^(.*) (\S+)$/.exec(line)!;
    expect([name, Number.isFinite(Number(value)) || value === 'Nan']).toEqual([name, true]);
    values.set(name!, Number(value));
  }
  return values;
}

it('tells what happened, and what is', async () => {
  await using server = await startApi();
  const before = await metrics(server.url);
  expect(before.get('tailrace_publishes_total{result="appended"}')).toBe(0);
  const post = (path: string, body: string) =>
    fetch(`${server.url}${path}`, { method: 'POST', body, headers: { 'content-type': 'application/json' } });
  await post('/v1/topics/a?id=1', '1');
  await post('/v1/topics/a?id=1', '1');
  await post('/v1/topics/b?durability=none', '1');
  await post('/v1/topics/b//c', '1');
  await post('/v1/publish', '[{"topic":"x","data":1},{"topic":"x","data":1}]');
  const after = await metrics(server.url);
  expect(after.get('tailrace_publishes_total{result="appended"}')).toBe(3);
  expect(after.get('tailrace_publishes_total{result="duplicate"}')).toBe(1);
  expect(after.get('tailrace_publishes_total{result="live"}')).toBe(1);
  expect(after.get('tailrace_publishes_total{result="topic_invalid"}')).toBe(1);
  expect(after.get('tailrace_log_head_offset')).toBe(3);
  expect(after.get('tailrace_log_state{state="open"}')).toBe(1);
  expect(after.get('tailrace_log_state{state="full"}')).toBe(0);
  expect(after.get('tailrace_hot_topics')).toBe(2);
  expect(after.get('tailrace_commit_records_sum')).toBe(3);
  expect(after.get('tailrace_commit_seconds_count')).toBeGreaterThan(0);
  expect(after.get('process_resident_memory_bytes')).toBeGreaterThan(1e6);
  expect(after.get('nodejs_eventloop_delay_seconds{quantile="0.99"}')).toBeGreaterThanOrEqual(0);
  for (const name of [
    'tailrace_cohorts',
    'tailrace_deliveries_total',
    'tailrace_deliveries_dropped_total',
    'tailrace_delivery_lag_seconds',
    'tailrace_round_trip_connections{window="newest",grade="prompt"}',
    'tailrace_round_trip_connections{window="usual",grade="lost"}',
    'tailrace_round_trip_jitter_connections{window="newest",grade="late"}',
    'tailrace_lagging_sessions',
    'tailrace_lagging_seconds_max',
    'tailrace_pinned_bytes',
    'tailrace_blocks_total{cache="hit"}',
    'tailrace_publishes_held',
    'tailrace_publishes_refused_total',
    'tailrace_delivery_jobs_waiting',
    'tailrace_log_floor_offset',
    'tailrace_log_segments',
    'tailrace_log_bytes',
    'nodejs_memory_bytes{kind="heap_used"}',
    'tailrace_timers{kind="deadline"}',
  ])
    expect([name, after.has(name)]).toEqual([name, true]);
  const poll = fetch(`${server.url}/v1/poll?filter=a&wait=60000`);
  while ((await metrics(server.url)).get('tailrace_connections{transport="poll"}') !== 1);
  await post('/v1/topics/a', '1');
  await (await poll).text();
  expect((await metrics(server.url)).get('tailrace_connections{transport="poll"}')).toBe(0);
});

const engines: [string, (options: CommonLogOptions) => Promise<Log>][] = [
  ['in memory', options => Promise.resolve(openMemoryLog(options))],
  ['on disk', options => openDiskLog({ directory: temporaryDirectory(), ...options })],
];

it.each(engines)('tells what a log %s remembers, and what it had no room for', async (_, openLog) => {
  const dedupe = { ids: 2, ageMs: 60_000, limit: 3, producers: 2 };
  await using server = await startApi({ log: await openLog({ dedupe, endedTopics: 1 }) });
  const memory = async (): Promise<Record<string, number>> =>
    Object.fromEntries(
      [...(await metrics(server.url))]
        .filter(([name]) => /^tailrace_(dedupe|ended|key)_/.test(name))
        .map(([name, value]) => [name.slice('tailrace_'.length), value]),
    );
  const post = async (path: string): Promise<void> => {
    const { status } = await fetch(`${server.url}/v1/topics/${path}`, { method: 'POST', body: '1' });
    expect(status).toBe(200);
  };
  const nothing = {
    'dedupe_remembered{kind="ids"}': 0,
    'dedupe_remembered{kind="producers"}': 0,
    'dedupe_cut_short_total{kind="ids"}': 0,
    'dedupe_cut_short_total{kind="producers"}': 0,
    ended_topics: 0,
    ended_topics_cut_short_total: 0,
    key_topics: 0,
    key_bytes: 0,
    key_loads_total: 0,
  };
  expect(await memory()).toEqual(nothing);
  for (let i = 0; i < 3; i++) await post(`a?id=${i}`);
  for (let i = 0; i < 2; i++) await post(`a?producer=${i}&sequence=1`);
  await post('over?end=true');
  await post('a?key=k&expect=absent');
  const full = await memory();
  expect(full).toEqual({
    ...nothing,
    'dedupe_remembered{kind="ids"}': 3,
    'dedupe_remembered{kind="producers"}': 2,
    ended_topics: 1,
    key_topics: 1,
    key_bytes: full.key_bytes,
    key_loads_total: 1,
  });
  expect(full.key_bytes).toBeGreaterThan(0);
  await post('a?id=one-too-many');
  await post('a?producer=one-too-many&sequence=1');
  await post('over-too?end=true');
  expect(await memory()).toEqual({
    ...full,
    'dedupe_cut_short_total{kind="ids"}': 1,
    'dedupe_cut_short_total{kind="producers"}': 1,
    ended_topics_cut_short_total: 1,
    key_bytes: expect.any(Number),
  });
});

it('tells handles, descriptors and timers, as many as there are', async () => {
  await using server = await startApi();
  const clients: Socket[] = [];
  const stop: (() => void)[] = [];
  const sockets = 'nodejs_active_resources{type="TCPSocketWrap"}';
  try {
    const before = await metrics(server.url);
    for (let i = 0; i < 40; i++) {
      const client = connect(server.port, '127.0.0.1');
      clients.push(client);
      await once(client, 'connect');
      client.write('GET /v1/sse?filter=a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
      stop.push(
        systemClock.after(3_600_000, () => {}),
        systemClock.every(3_600_000, () => {}),
      );
    }
    let open = await metrics(server.url);
    while (open.get('tailrace_connections{transport="sse"}') !== 40) open = await metrics(server.url);
    const more = (name: string): number => open.get(name)! - before.get(name)!;
    expect(more('tailrace_timers{kind="runtime"}')).toBe(80);
    expect(more('tailrace_timers{kind="heartbeat"}')).toBe(40);
    // both ends are of this process
    expect(more(sockets)).toBeGreaterThanOrEqual(80);
    if (onLinux) {
      expect(more('process_open_fds')).toBeGreaterThanOrEqual(80);
      expect(open.get('process_max_fds')!).toBeGreaterThan(open.get('process_open_fds')!);
    } else expect(open.has('process_open_fds')).toBe(false);
  } finally {
    for (const client of clients) client.destroy();
    for (const cancel of stop) cancel();
  }
  let after = await metrics(server.url);
  while (after.get('tailrace_connections{transport="sse"}') !== 0) after = await metrics(server.url);
  expect(after.get('tailrace_timers{kind="heartbeat"}')).toBe(0);
  expect(after.get('tailrace_timers{kind="runtime"}')).toBeLessThan(32);
});

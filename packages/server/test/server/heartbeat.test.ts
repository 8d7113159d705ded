import { expect, it } from 'vitest';
import { createConfig } from '../../src/config/index.ts';
import { startServer } from '../../src/server.ts';
import { until } from '../gateway/harness.ts';
import { SseClient } from '../gateway/sse-client.ts';
import { WsClient } from '../gateway/ws-client.ts';

it('a server beats as its settings say, by transport and as clients ask, and grades their answers', async () => {
  const { address, server } = await startServer(
    createConfig({
      engine: 'memory',
      port: 0,
      log: { level: 'silent' },
      heartbeat: '20s',
      sse: { heartbeat: '5s' },
      websocket: { heartbeat: '6s' },
    }),
  );
  const url = `http://127.0.0.1:${address.port}`;
  const usual = await WsClient.open(address.port);
  const asks = await WsClient.open(address.port);
  const stream = await SseClient.open(address.port, 'filter=a');
  const asked = await SseClient.open(address.port, 'filter=a&heartbeat=9000');
  try {
    expect(await usual.ask({ type: 'connect', ref: 1 })).toMatchObject({
      heartbeat: 6000,
      features: expect.arrayContaining(['heartbeat', 'deadline']),
    });
    expect(await asks.ask({ type: 'connect', ref: 1, heartbeat: 5000 })).toMatchObject({ heartbeat: 5000 });
    expect(await stream.notice('subscribed')).toMatchObject({ heartbeat: 5000 });
    expect(await asked.notice('subscribed')).toMatchObject({ heartbeat: 9000 });
    expect(await (await fetch(`${url}/v1`)).json()).toMatchObject({
      heartbeat: 20_000,
      features: expect.arrayContaining(['heartbeat', 'deadline']),
    });
    await until(() => asks.pings > 0 && stream.blocks.some(block => block.comment), 'heartbeats', 15_000);

    const read = async (): Promise<string> => (await fetch(`${url}/metrics`)).text();
    let metrics = '';
    // one has answered, perhaps both
    while (!/^tailrace_round_trip_connections\{window="usual",grade="prompt"\} [12]$/m.test(metrics))
      metrics = await read();
    expect(metrics).toMatch(/^tailrace_round_trip_connections\{window="newest",grade="prompt"\} [12]$/m);
    expect(metrics).toMatch(/^tailrace_round_trip_connections\{window="newest",grade="lost"\} 0$/m);
    expect(metrics).toMatch(/^tailrace_round_trip_jitter_connections\{window="newest",grade="prompt"\} [12]$/m);
    expect(metrics).toMatch(/^tailrace_round_trip_seconds_count [12]$/m);
  } finally {
    for (const client of [usual, asks, stream, asked]) client.close();
    await server.close();
  }
});

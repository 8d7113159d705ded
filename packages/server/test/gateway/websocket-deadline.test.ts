import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openDiskLog } from '../../src/log/index.ts';
import { SimulatedDisk } from '../log/disk/simulated-disk.ts';
import { SeededRandom } from '../log/seeded-random.ts';
import { Rooms, until } from './harness.ts';
import { WsClient } from './ws-client.ts';

let machine: SimulatedDisk;
let rooms: Rooms;
let client: WsClient;
beforeEach(async () => {
  machine = new SimulatedDisk(new SeededRandom(1));
  const log = await openDiskLog({ directory: '/simulated', disk: machine.boot(), segmentBytes: 65536 });
  // longer than any test may take: what is answered is answered by its own deadline
  rooms = await Rooms.open({ log, hub: { publishDeadline: 600_000 } });
  client = await WsClient.open(rooms.port);
});
afterEach(async () => {
  machine.resume();
  client.close();
  await rooms.close();
  expect(rooms.faults).toEqual([]);
});

const two = [
  { topic: 'a', data: 1 },
  { topic: 'a', data: 2 },
];

describe('a publish frame with a deadline', () => {
  it('is answered by then when the commit does not come; what was begun is finished', async () => {
    machine.stall = operation => operation === 'sync';
    client.send({ type: 'publish', ref: 'patient', messages: [{ topic: 'a', data: 0 }] });
    const { results } = await client.ask({ type: 'publish', ref: 'named', deadline: 50, messages: two });
    expect(results).toMatchObject([
      { error: { code: 'deadline_exceeded', outcome: 'unknown', retryAfter: 1000, at: { index: 0 } } },
      { error: { code: 'deadline_exceeded', outcome: 'unknown', at: { index: 1 } } },
    ]);
    expect(client.of('published')).toHaveLength(1);
    machine.resume();
    expect((await client.answer('patient')).results).toMatchObject([{ offset: 1 }]);
    await until(() => rooms.log.head.offset === 3, 'the commit of both');
    expect(client.of('published')).toHaveLength(2);
  });

  it('is acked by then when the brake holds what is committed', async () => {
    rooms.hub.brake.update(150);
    client.send({ type: 'publish', ref: 'patient', messages: [{ topic: 'a', data: 0 }] });
    const { results } = await client.ask({ type: 'publish', ref: 'named', deadline: 50, messages: two });
    expect(results).toMatchObject([{ offset: 2 }, { offset: 3 }]);
    expect([rooms.hub.brake.heldCount, client.of('published').length]).toEqual([1, 1]);
    rooms.hub.brake.update(0);
    expect((await client.answer('patient')).results).toMatchObject([{ offset: 1 }]);
  });

  it.each([9, 600_001, 50.5, '50', null, -1])('of %j is refused', async deadline => {
    expect(await client.ask({ type: 'publish', ref: 1, deadline, messages: two })).toMatchObject({
      type: 'error',
      code: 'bad_request',
      detail: expect.stringContaining('publish.deadline'),
      at: { field: 'deadline' },
    });
    expect(rooms.log.head.offset).toBe(0);
  });
});

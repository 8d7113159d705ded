import { checkMessage, filterSet, type MessageFields, parseCursor } from '@tailrace/protocol';
import type { Encoding, Hub, HubOptions, Session, Subscription } from '../../src/hub/index.ts';
import { type Appended, type Log, openMemoryLog } from '../../src/log/index.ts';
import {
  chainedEncoding,
  type Received,
  SimulatedClock,
  SimulatedOutlet,
  SimulatedOwner,
  seeded,
  settle,
  simulatedHub,
} from './simulation.ts';

export interface JoinOptions {
  readonly encoding?: Encoding;
  readonly sub?: string;
  readonly from?: string;
  readonly cursor?: string;
  /** Bytes the kernel takes before the outlet is unfinished. */
  readonly room?: number;
  /** One more subscription of this session instead of a new one. */
  readonly on?: Guest;
}

/** A session under test with what it received. */
export class Guest {
  readonly session: Session;
  readonly outlet: SimulatedOutlet;
  readonly subscriptions: Subscription[] = [];
  start = -1;

  constructor(session: Session, outlet: SimulatedOutlet) {
    this.session = session;
    this.outlet = outlet;
  }

  get received(): Received[] {
    return this.outlet.received();
  }

  /** Offsets of records received, of one label when given. */
  offsets(sub?: string): number[] {
    return this.received.flatMap(item =>
      item.kind === 'frame' || !item.stored || (item.kind === 'messages' && sub !== undefined && item.sub !== sub)
        ? []
        : [...item.offsets],
    );
  }

  /** Numbers of class `none` messages received. */
  volatile(): number[] {
    return this.received.flatMap(item => (item.kind === 'frame' || item.stored ? [] : [...item.offsets]));
  }

  frames(type: string): Record<string, unknown>[] {
    return this.received.flatMap(item =>
      item.kind === 'frame' && item.frame.type === type ? [item.frame as never] : [],
    );
  }
}

/** Log and hub on simulated time: nothing is delivered unless `run` or `clock.turn` is called. */
export class SimulatedRoom {
  readonly clock: SimulatedClock = new SimulatedClock();
  readonly log: Log;
  readonly hub: Hub;
  readonly owner: SimulatedOwner = new SimulatedOwner(() => this.hub);

  constructor(options: Partial<HubOptions> = {}, hotBytes = 1_000_000) {
    this.log = options.log ?? openMemoryLog({ clock: this.clock.forLog, hotBytes });
    this.hub = simulatedHub(this.log, this.clock, seeded(1), options);
  }

  /** Appends one message and returns its offset. Nothing is delivered by it. */
  async publish(topic: string, data = '1', fields: MessageFields = {}): Promise<number> {
    const [result] = await this.log.append([checkMessage(topic, Buffer.from(data), fields)], 'fsync');
    return (result as Appended).offset;
  }

  /** Publishes so many messages of so many bytes, each of which is delivered before the next. */
  async publishEach(topic: string, count: number, bytes = 1): Promise<void> {
    for (let i = 0; i < count; i++) {
      await this.publish(topic, `"${'x'.repeat(bytes)}"`);
      await this.run();
    }
  }

  async join(filters: readonly string[], options: JoinOptions = {}): Promise<Guest> {
    const set = filterSet(filters);
    const guest =
      options.on ??
      (() => {
        const outlet = new SimulatedOutlet(options.room);
        return new Guest(this.hub.openSession('test', outlet, options.encoding ?? chainedEncoding, this.owner), outlet);
      })();
    const start = await this.hub.resolveStart(set, { cursor: options.cursor, from: options.from });
    guest.subscriptions.push(
      this.hub.subscribe(guest.session, options.sub ?? 's', set, start, cursor => {
        guest.start = parseCursor(cursor).offset;
      }),
    );
    return guest;
  }

  leave(guest: Guest): void {
    this.hub.closeSession(guest.session);
  }

  /** The cursor at `offset`. */
  cursor(offset: number): string {
    return this.hub.tokens.of(offset, offset === 0 ? 0 : (this.log.hot.timeAt(offset) ?? 0));
  }

  /** Runs until nothing is left to do. */
  async run(): Promise<void> {
    for (let idle = 0; idle < 2; ) {
      idle = this.clock.turn() ? 0 : idle + 1;
      await settle(2);
    }
  }

  /** Lets `ms` pass in beats, as the timers of a server would see it. */
  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 250) {
      this.clock.advance(Math.min(250, left));
      await this.run();
    }
  }

  async close(): Promise<void> {
    this.hub.close();
    await this.log.close();
  }
}

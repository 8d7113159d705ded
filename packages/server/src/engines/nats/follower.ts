import { AckPolicy, DeliverPolicy } from '@nats-io/jetstream';
import { createInbox } from '@nats-io/transport-node';
import { systemClock } from '../../log/clock.ts';
import type { Entry, EntryTimes, Following, PartitionListener, PartitionState } from '../broker-partition.ts';
import { ConnectionLost, type KeptConnection, type Line } from './connection.ts';
import { Consumer } from './consumer.ts';
import type { Names } from './names.ts';
import type { Seen } from './seen.ts';

export interface FollowerParts {
  readonly times: EntryTimes;
  readonly connection: KeptConnection;
  readonly names: Names;
  readonly seen: Seen;
  readonly askState: (line: Line) => Promise<PartitionState>;
  readonly listener: PartitionListener;
  readonly onClose: () => void;
}

/** How often the server says that there is nothing, and how long it may say nothing at all, ms. */
const heartbeat = 1000;
const silenceMost = 3000;
/** How often the server is asked where the stream stands, ms. */
const stateEvery = 5000;
const pauseAfterError = 200;

/**
 * The one reader of this node: a consumer in the server, which pushes entry after entry. It lasts as long as it is without
 * gaps and the server is heard of; then another begins where this one ended, after the server was asked where the stream
 * stands.
 */
export class Follower implements Following {
  readonly #parts: FollowerParts;
  readonly #running: Promise<void>;
  #after: number;
  /** Whoever comes to this offset again has heard from the server what is missing before it. */
  #knownTo = 0;
  #heardAt: number = systemClock.monotonic();
  /** Resolves when it is closed, whether the server is there or not. */
  readonly #ending: Promise<undefined>;
  #end!: () => void;
  #begin: () => void = () => {};
  #stopPause: () => void = () => {};
  #closed = false;

  constructor(parts: FollowerParts, after: number) {
    this.#parts = parts;
    this.#after = after;
    this.#ending = new Promise(resolve => {
      this.#end = () => resolve(undefined);
    });
    this.#running = this.#run();
  }

  get silence(): number {
    return systemClock.monotonic() - this.#heardAt;
  }

  goBack(offset: number): void {
    this.#after = offset;
    this.#begin();
  }

  async close(): Promise<void> {
    if (this.#closed) return this.#running;
    this.#closed = true;
    this.#end();
    this.#begin();
    this.#stopPause();
    this.#parts.onClose();
    await this.#running;
  }

  /** Where the stream stands now; who followed further than that goes back. */
  hears(state: PartitionState): void {
    if (this.#closed) return;
    this.#parts.listener.onState(state);
    if (this.#after > state.head) this.goBack(state.head);
  }

  async #run(): Promise<void> {
    const { connection, askState, listener } = this.#parts;
    while (!this.#closed) {
      try {
        const line = await Promise.race([connection.ready(), this.#ending]);
        if (line === undefined || this.#closed) return;
        await connection.askOn(line, askState);
        await this.#consume(line);
      } catch (error) {
        if (this.#closed || connection.isClosed) return;
        if (!(error instanceof ConnectionLost)) listener.onTrouble((error as Error).message);
        await this.#pause();
      }
    }
  }

  /** Resolves when another consumer has to begin; rejects when that should not be at once. */
  async #consume(line: Line): Promise<void> {
    const { connection, names, seen, askState, times } = this.#parts;
    const inbox = createInbox();
    const consumer = new Consumer({
      times,
      onEntries: (entries, left) => this.#hand(entries, left),
      onSeen: (offset, stored) => seen.add(offset, stored),
      onHole: offset => {
        this.#knownTo = offset;
      },
      after: this.#after,
      knownTo: this.#knownTo,
    });
    const begin = new Promise<void>(resolve => {
      this.#begin = () => {
        consumer.end();
        resolve();
      };
    });
    if (this.#closed) return;
    const subscription = line.nats.subscribe(inbox, {
      callback: (error, message) => {
        if (error !== null || consumer.isOver) return;
        this.#heardAt = systemClock.monotonic();
        if (!consumer.take(line, message)) this.#begin();
      },
    });
    this.#heardAt = systemClock.monotonic();
    const stopWatch = systemClock.every(heartbeat / 2, () => {
      if (this.silence > silenceMost) connection.renew(line);
    });
    const stopAsking = systemClock.every(stateEvery, () => {
      connection.askOn(line, askState).catch(() => {});
    });
    const made = connection.askOn(line, ({ jetstream }) =>
      jetstream.consumers.add(names.stream, {
        ack_policy: AckPolicy.None,
        deliver_policy: DeliverPolicy.StartSequence,
        opt_start_seq: this.#after + 1,
        deliver_subject: inbox,
        idle_heartbeat: heartbeat * 1e6,
        flow_control: true,
        inactive_threshold: silenceMost * 1e6,
        mem_storage: true,
        num_replicas: 1,
      }),
    );
    try {
      await Promise.race([begin, line.lost, made.then(() => Promise.race([begin, line.lost]))]);
    } finally {
      consumer.end();
      stopWatch();
      stopAsking();
      subscription.unsubscribe();
      made
        .then(({ name }) => connection.askOn(line, ({ jetstream }) => jetstream.consumers.delete(names.stream, name)))
        .catch(() => {});
    }
    if (line.isLost && !this.#closed) throw new ConnectionLost('the connection is lost');
  }

  #hand(entries: readonly Entry[], left: number): void {
    this.#after = entries[entries.length - 1]!.offset;
    this.#parts.listener.onEntries(entries, this.#after + left);
  }

  #pause(): Promise<void> {
    return new Promise(resolve => {
      const stop = systemClock.after(pauseAfterError, resolve);
      this.#stopPause = () => {
        stop();
        resolve();
      };
    });
  }
}

import { systemClock } from '../../log/clock.ts';
import type { LogNode } from '../../log/shared-log.ts';
import { BeatingNodes, type BeatingNodesParts, silenceMost } from '../beating-nodes.ts';
import type { BrokerPartition, Entry } from '../broker-partition.ts';

export interface BrokerNodesParts extends BeatingNodesParts {
  /** A partition for nothing but this, made if it is missing; what is older than some minutes may go. */
  readonly open: () => Promise<BrokerPartition>;
  /** Records that the broker has beyond `head`. */
  readonly lag: () => number;
  readonly onError: (error: unknown) => void;
}

/** What a node says of itself. */
type Said = Omit<LogNode, 'silence'>;

interface Heard {
  readonly said: Said;
  /** By the clock of the broker. */
  readonly time: number;
}

const beatAgain = 5000;
const failuresTold = 3;
const goodbyeMost = 1000;
const readBytes = 1024 * 1024;

/** The nodes of a log behind a broker: each appends that it is there, and reads what the others have appended since. */
export class BrokerNodes extends BeatingNodes {
  readonly #parts: BrokerNodesParts;
  readonly #heard = new Map<string, Heard>();
  #partition: BrokerPartition | undefined;
  /** Read up to here; undefined before anything is. */
  #after: number | undefined;
  /** Since the last beat that did not fail. */
  #failures = 0;

  constructor(parts: BrokerNodesParts) {
    super(parts);
    this.#parts = parts;
  }

  protected async beat(): Promise<readonly LogNode[]> {
    const { node, head, lag } = this.#parts;
    this.#partition ??= await this.#parts.open();
    this.#after ??= (await this.#partition.open()).floor;
    const own = await this.#say({ ...this.about, id: node, since: this.since, head: head(), lag: lag() });
    if (own <= this.#after) throw new Error('the list of nodes was deleted, and begins anew');
    while (this.#after < own) {
      const { entries, next } = await this.#partition.read(this.#after, own, readBytes);
      for (const entry of entries) this.#hear(entry);
      if (next <= this.#after) throw new Error('the list of nodes changed while it was read');
      this.#after = next;
    }
    this.#failures = 0;
    return this.#others(this.#heard.get(node)?.time ?? 0);
  }

  protected async leave(underWay: Promise<void>): Promise<void> {
    const goodbye = async (): Promise<void> => {
      await underWay;
      await this.#say({ id: this.#parts.node }).catch(() => {});
    };
    let stopWatch = (): void => {};
    const late = new Promise<void>(resolve => {
      stopWatch = systemClock.after(goodbyeMost, resolve);
    });
    await Promise.race([goodbye(), late]);
    stopWatch();
    await this.#partition?.close();
  }

  /** The next beat looks for the partition again. */
  protected failed(error: unknown): number {
    // what passes by itself the log tells of
    if (++this.#failures === failuresTold) this.#parts.onError(error);
    void this.#partition?.close();
    this.#partition = undefined;
    this.#after = undefined;
    this.#heard.clear();
    return beatAgain;
  }

  async #say(said: Partial<Said>): Promise<number> {
    const entry = { time: this.#parts.wall.now(), bytes: Buffer.from(JSON.stringify(said)) };
    const offsets = (await this.#partition?.append([entry])) ?? [];
    return offsets[0] ?? 0;
  }

  #hear({ time, bytes }: Entry): void {
    const { id, address, ...rest } = readBeat(bytes);
    if (id === undefined) return;
    this.#heard.delete(id);
    // who says no more than its name is going
    if (address === undefined) return;
    const { name = '', version = '', since = 0, head = 0, lag = 0 } = rest;
    this.#heard.set(id, { said: { id, address, name, version, since, head, lag }, time });
  }

  #others(now: number): readonly LogNode[] {
    const others: LogNode[] = [];
    for (const [id, { said, time }] of this.#heard) {
      // by a clock that goes back all would be there for ever
      const silence = Math.abs(now - time);
      if (silence > silenceMost) this.#heard.delete(id);
      else if (id !== this.#parts.node) others.push({ ...said, silence });
    }
    return others;
  }
}

/** Nothing of what is no beat. */
function readBeat(bytes: Buffer): Partial<Said> {
  try {
    return JSON.parse(bytes.toString()) as Partial<Said>;
  } catch {
    return {};
  }
}

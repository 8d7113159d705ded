import type { LogNode, NodeAbout } from '../../log/shared-log.ts';
import { BeatingNodes, type BeatingNodesParts, silenceMost } from '../beating-nodes.ts';
import { isPassing, type RedisConnection } from './connection.ts';
import type { Keys } from './keys.ts';
import { beat } from './scripts/nodes.ts';

export interface RedisNodesParts extends BeatingNodesParts {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  /** The server has records up to here. */
  readonly onHead: (head: number) => void;
  readonly onError: (error: unknown) => void;
}

/** How soon a beat that failed is tried again, ms. */
const beatAgain = 2000;
const fieldsOfNode = 6;

/** The nodes of a log in Redis, in a hash. */
export class RedisNodes extends BeatingNodes {
  readonly #parts: RedisNodesParts;

  constructor(parts: RedisNodesParts) {
    super(parts);
    this.#parts = parts;
  }

  protected async leave(underWay: Promise<void>): Promise<void> {
    const { connection, keys, node } = this.#parts;
    if (!connection.isReady) return;
    await underWay;
    await connection.ask(redis => redis.hdel(keys.nodes, node)).catch(() => {});
  }

  protected failed(error: unknown): number {
    if (!isPassing(error)) this.#parts.onError(error);
    return beatAgain;
  }

  protected async beat(): Promise<readonly LogNode[]> {
    const { connection, keys, node, head, onHead } = this.#parts;
    const args = [node, this.since, head(), JSON.stringify(this.about), silenceMost];
    const answer = await connection.ask(redis => beat.run(redis, [keys.nodes, keys.state], args));
    const [theirs, ...fields] = answer as [number, ...(Buffer | number)[]];
    onHead(theirs);
    const others: LogNode[] = [];
    for (let at = 0; at < fields.length; at += fieldsOfNode) {
      const [id, silence, since, reached, lag, about] = fields.slice(at, at + fieldsOfNode).map(String);
      if (id === node) continue;
      const { name = '', address = '', version = '' } = JSON.parse(about!) as Partial<NodeAbout>;
      others.push({
        ...{ id: id!, name, address, version, since: Number(since) },
        ...{ silence: Number(silence), head: Number(reached), lag: Number(lag) },
      });
    }
    return others;
  }
}

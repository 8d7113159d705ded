import type { StreamConfig } from '@nats-io/jetstream';
import type { ServerInfo } from '@nats-io/transport-node';
import type { StoredDurability } from '../../log/record.ts';
import { messageOverhead } from './entry.ts';

/** What is asked of a server. */
export interface Demands {
  /** It syncs each write (`sync_interval: always`), says who runs it: it tells nobody itself. */
  readonly synced: boolean;
  /** Class of durability that it must keep; undefined for whatever it keeps. */
  readonly durability: StoredDurability | undefined;
}

export interface Judged {
  readonly durabilities: readonly StoredDurability[];
  readonly entryBytes: number;
}

/** What is judged of a stream, made or not. */
export type Judgeable = Pick<StreamConfig, 'name' | 'retention' | 'storage' | 'num_replicas'> & Partial<StreamConfig>;

/** Which promises this stream can keep. Throws when the log must not live in it. */
export function judgeServer(server: ServerInfo, stream: Judgeable, { synced, durability }: Demands): Judged {
  const [major = 0, minor = 0] = server.version.split('.').map(Number);
  if (major * 1000 + minor < 2012) throw new Error(`it is nats-server ${server.version}; the log needs 2.12 or newer`);
  for (const [is, setting] of [
    [stream.allow_atomic, 'allow_atomic'],
    [stream.allow_direct, 'allow_direct'],
    [stream.retention === 'limits', 'retention: limits'],
    [stream.storage === 'file', 'storage: file'],
  ] as const)
    if (!is) throw new Error(`its stream ${stream.name} is set otherwise than Tailrace made it: it needs ${setting}`);
  const durabilities: readonly StoredDurability[] =
    // what a second machine has survives the power loss of one
    synced || stream.num_replicas > 1 ? ['fsync', 'written'] : ['written'];
  if (durability !== undefined && !durabilities.includes(durability))
    throw new Error(
      `durability is ${durability}, and stream ${stream.name} has ${stream.num_replicas} replicas: set sync_interval: always ` +
        'there and nats.synced here, or give the stream 3 replicas (nats.replicas counts only for a stream that is made: edit this ' +
        'one in NATS, or begin another log with nats.name), or set durability written',
    );
  const { max_msg_size = -1 } = stream;
  const most = max_msg_size > 0 ? Math.min(max_msg_size, server.max_payload) : server.max_payload;
  return { durabilities, entryBytes: most - messageOverhead };
}

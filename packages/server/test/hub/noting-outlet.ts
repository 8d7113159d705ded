import { parseCursor } from '@tailrace/protocol';
import type { Encoding } from '../../src/hub/index.ts';
import { SimulatedOutlet } from './simulation.ts';

interface Noted {
  readonly offsets: readonly number[];
  /** What a gap or `live` names. */
  readonly frame?: { readonly type: string; readonly offset: number };
}

const noted = new WeakMap<Buffer, Noted>();

/** Bytes weigh what the payloads do, and what they hold is noted beside them: nobody has to parse them. */
export const weightyEncoding: Encoding = {
  name: 'weighty',
  wrap: null,
  body(records) {
    const bytes = Buffer.concat(records.map(record => record.data));
    noted.set(bytes, { offsets: records.map(record => record.offset) });
    return bytes;
  },
  notice(frame) {
    const bytes = Buffer.from(JSON.stringify(frame));
    if (frame.type === 'gap' || frame.type === 'live')
      noted.set(bytes, { offsets: [], frame: { type: frame.type, offset: parseCursor(frame.cursor).offset } });
    return bytes;
  },
};

/** Notes what it is given in `weightyEncoding` and lets the bytes go. */
export class NotingOutlet extends SimulatedOutlet {
  readonly offsets: number[] = [];
  readonly gaps: number[] = [];
  /** How many offsets had come when `live` first did, and the offset that it named. */
  live: { readonly count: number; readonly offset: number } | undefined;

  override write(buffer: Buffer): void {
    if (this.ended) return;
    const { offsets, frame } = noted.get(buffer) ?? { offsets: [] };
    this.offsets.push(...offsets);
    if (frame?.type === 'gap') this.gaps.push(frame.offset);
    if (frame?.type === 'live') this.live ??= { count: this.offsets.length, offset: frame.offset };
    this.room -= buffer.length;
    if (this.room < 0) this.unfinished += buffer.length;
  }
}

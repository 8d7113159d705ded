import type { ServerFrame } from '@tailrace/protocol';
import type { LogRecord } from '../log/index.ts';

/** How records and notices become bytes on one transport. Stateless: one instance serves all its sessions. */
export interface Encoding {
  /** Distinguishes the bytes; part of the key under which blocks and cohorts are shared. */
  readonly name: string;
  /**
   * Bytes of these records that do not depend on who reads them: shared by every subscription that needs the same
   * records. `stored` is false for class `none`: no offset, no cursor.
   */
  body(records: readonly LogRecord[], stored: boolean): Buffer;
  /**
   * Puts the subscription's label and its chain of cursors around a body; null where a body is sent as it is.
   * `after` and `cursor` are undefined for class `none`.
   */
  readonly wrap: ((body: Buffer, sub: string, after: string | undefined, cursor: string | undefined) => Buffer) | null;
  /** Bytes of a frame that is not `messages`. */
  notice(frame: ServerFrame): Buffer;
}

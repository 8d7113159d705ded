import { type Durability, durabilities } from './durability.ts';

/** Limits on what a peer may send (I6). Bytes are UTF-8 bytes; the server's settings override the defaults. */
export interface InputLimits {
  /** Bytes of one topic or filter. */
  readonly topicBytes: number;
  /** Levels of one topic or filter. */
  readonly topicLevels: number;
  /** Filters of one subscription. */
  readonly filters: number;
  /** Bytes of one message's data. */
  readonly message: number;
  /** Bytes of all header names and values of one message. */
  readonly messageHeaders: number;
  /** Durability classes that may be asked for: what the engine can promise. */
  readonly durabilities: readonly Durability[];
}

export const defaultInputLimits: InputLimits = Object.freeze({
  topicBytes: 512,
  topicLevels: 32,
  filters: 128,
  message: 1024 * 1024,
  messageHeaders: 4096,
  durabilities,
});

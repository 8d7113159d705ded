import { envelopeMaxBytes, writeEnvelope } from '../hub/index.ts';
import type { LogRecord } from '../log/index.ts';
import { Scratch } from './scratch.ts';

const scratch = new Scratch();

/** The envelopes of these records joined by commas: the inside of a JSON array. */
export function joinEnvelopes(records: readonly LogRecord[], stored: boolean): Buffer {
  scratch.clear();
  for (let i = 0; i < records.length; i++) {
    if (i > 0) scratch.text(',');
    scratch.reserve(envelopeMaxBytes(records[i]!));
    scratch.length = writeEnvelope(scratch.bytes, scratch.length, records[i]!, stored);
  }
  return scratch.copy();
}

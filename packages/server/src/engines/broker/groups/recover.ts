import type { BrokerPartition, Entry, PartitionState } from '../../broker-partition.ts';
import { Known } from '../known.ts';
import { CheckpointReader } from './checkpoints.ts';
import { type Command, readCommand } from './command.ts';
import { type Answer, LedgerFold } from './ledger-fold.ts';

export interface Recovered {
  readonly fold: LedgerFold;
  /** What it has made of the ledger, up to where. */
  readonly known: Known;
  /** Bytes of entries that were read. */
  readonly bytes: number;
}

/** What a command came to, when it is not in a checkpoint already. */
export type OnAnswer = (command: Command, answer: Answer) => void;

const readBytes = 4 * 1024 * 1024;

/**
 * Makes of the ledger what the other nodes have made of it: from its beginning, or where that was trimmed from the first
 * checkpoint that is left, and the entries behind what that holds.
 *
 *   trimmed │ a  b  c  checkpoint of all up to b  d  e      ──►  restored, c, d, e
 */
export async function recover(
  partition: BrokerPartition,
  state: PartitionState,
  onAnswer: OnAnswer,
): Promise<Recovered> {
  const known = new Known();
  known.take(state);
  known.floor = state.floor;
  known.offset = state.floor;
  let fold = state.floor === 0 ? new LedgerFold() : undefined;
  const checkpoints = new Map<string, CheckpointReader>();
  let waiting: Entry[] = [];
  let bytes = 0;
  while (known.offset < state.head) {
    const { after, entries, next } = await partition.read(known.offset, state.head, readBytes);
    if (after > known.offset || next <= known.offset)
      throw new Error(`the ledger of groups changed while it was read behind offset ${known.offset}`);
    for (const entry of entries) {
      bytes += entry.bytes.length;
      if (fold !== undefined) applyTo(fold, entry, onAnswer);
      else {
        waiting.push(entry);
        fold = restored(checkpoints, entry, known, waiting, onAnswer);
        if (fold !== undefined) waiting = [];
      }
    }
    known.offset = next;
  }
  if (fold === undefined)
    throw new Error(
      'the ledger of groups has lost its beginning, and holds no checkpoint: delete its topic or stream, and all groups begin anew',
    );
  return { fold, known, bytes };
}

function applyTo(fold: LedgerFold, { bytes, time }: Entry, onAnswer: OnAnswer): void {
  const command = readCommand(bytes);
  const answer = command && fold.apply(command, time);
  if (answer !== undefined) onAnswer(command!, answer);
}

/** The fold at `entry`, when that completes a checkpoint from which all is there. */
function restored(
  readers: Map<string, CheckpointReader>,
  entry: Entry,
  { epochs, floor }: Known,
  waiting: readonly Entry[],
  onAnswer: OnAnswer,
): LedgerFold | undefined {
  const { node, asked } = readCommand(entry.bytes) ?? {};
  if (node === undefined || asked?.kind !== 'checkpoint') return undefined;
  const reader = readers.get(node) ?? new CheckpointReader();
  readers.set(node, reader);
  const saved = reader.take(asked);
  const { upTo, epoch } = asked;
  // one of what the ledger has lost since is none
  const end = epochs.endOf(epoch, Number.POSITIVE_INFINITY) ?? 0;
  if (saved === undefined || upTo < floor || upTo > end) return undefined;
  const fold = LedgerFold.from(saved);
  for (const other of waiting) if (other.offset > upTo) applyTo(fold, other, onAnswer);
  return fold;
}

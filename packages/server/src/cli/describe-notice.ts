import type { ServerFrame } from '@tailrace/protocol';

/** A notice of the server in words, or undefined for those that people need not see. */
export function describeNotice(notice: ServerFrame): string | undefined {
  switch (notice.type) {
    case 'gap': {
      const missed = notice.missed === undefined ? 'messages' : `${notice.missed} messages`;
      return `gap: ${missed} between the last one and the next are gone (${gapReasons[notice.reason] ?? notice.reason})`;
    }
    case 'reset':
      if (notice.reason === 'compacted')
        return 'reset: deletions since the last message are gone (compacted); discard what you hold, what is there follows';
      return `reset: the cursor does not fit this log any more (${notice.reason}); what follows may repeat or skip`;
    case 'end':
      return `${notice.topic} has ended`;
    default:
      return undefined;
  }
}

const gapReasons: Readonly<Record<string, string>> = {
  trimmed: 'retention removed them',
  lagging: 'this subscriber was too slow',
  engine: 'the engine lost them',
};

import type { Position } from '../log/log.ts';
import type { LogReport } from '../log/report.ts';

/** The server, which people call `name`, goes on behind `kept` although this node had read up to `head`. */
export function newestLost(name: string, head: Position, kept: number): LogReport {
  return {
    level: 'error',
    kind: 'engine_rewound',
    message:
      `${name} lost the newest records: this node had read up to offset ${head.offset} of epoch ${head.epoch}, and the log ` +
      `goes on behind ${kept} (a replica that had less took over, or the last writes were not on disk, or it was made anew). ` +
      'All subscribers come back by their cursors and are told',
    lost: [{ from: kept + 1, to: head.offset }],
  };
}

/** It has none of what this node had read, and goes on behind it. */
export function allLost(name: string, { offset }: Position): LogReport {
  return {
    level: 'error',
    kind: 'engine_rewound',
    message:
      `${name} lost the whole log: its records up to offset ${offset} are gone (they were deleted, or it was started without ` +
      'its files), and the log goes on behind them. Subscribers who come back from before are told',
    lost: [{ from: 1, to: offset }],
  };
}

import { defaultConfig } from '../packages/server/src/config/index.ts';
import { Hub, type Outlet, type SessionOwner } from '../packages/server/src/hub/index.ts';
import { type Log, systemClock, systemRandom } from '../packages/server/src/log/index.ts';
import { hubOptions } from '../packages/server/src/room-options.ts';

/** The server's own hub with the settings it has where nobody changes them. */
export function openHub(log: Log): Hub {
  return new Hub({
    log,
    clock: systemClock,
    random: systemRandom,
    ...hubOptions(defaultConfig()),
    onReadError: error => {
      throw error;
    },
  });
}

/** An outlet that leads nowhere and is never behind. */
export const takesAll: Outlet = {
  unfinished: 0,
  left: 0,
  write: () => undefined,
  whenFinished: () => undefined,
  end: () => undefined,
  destroy: () => undefined,
};

export const nobody: SessionOwner = { onCut: () => undefined, onEnded: () => undefined };

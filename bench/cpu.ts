// How busy both cores were in a window, and by whom. Read from /proc at its two edges only.
import { readFileSync } from 'node:fs';
import { loadCore, serverCore } from './pin.ts';

const ticksPerSecond = 100; // USER_HZ, fixed by the Linux ABI

/** Shares of one core, 0 to 1. */
export interface CpuShares {
  server: number;
  load: number;
  /** What neither the server nor the load used: others who disturb the measurement. */
  othersOnServerCore: number;
  othersOnLoadCore: number;
}

export class CpuMeter {
  readonly #serverPids: readonly number[];
  #began = performance.now();
  #server = 0;
  #load = 0;
  #busy = { serverCore: 0, loadCore: 0 };

  /** Made inside the load process: its own time is this process's. */
  constructor(serverPids: readonly number[]) {
    this.#serverPids = serverPids;
    this.start();
  }

  start(): void {
    this.#began = performance.now();
    this.#server = secondsOf(this.#serverPids);
    this.#load = ownSeconds();
    this.#busy = busySeconds();
  }

  read(): CpuShares {
    const seconds = (performance.now() - this.#began) / 1000;
    const busy = busySeconds();
    const server = (secondsOf(this.#serverPids) - this.#server) / seconds;
    const load = (ownSeconds() - this.#load) / seconds;
    return {
      server,
      load,
      othersOnServerCore: Math.max(0, (busy.serverCore - this.#busy.serverCore) / seconds - server),
      othersOnLoadCore: Math.max(0, (busy.loadCore - this.#busy.loadCore) / seconds - load),
    };
  }
}

/** Resident memory of all `pids` together, in bytes. */
export function residentBytes(pids: readonly number[]): number {
  let bytes = 0;
  for (const pid of pids) {
    const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
    bytes += Number(kilobytes ?? 0) * 1024;
  }
  return bytes;
}

function ownSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function secondsOf(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    try {
      // after "(command)" the fields count from 3; 14 and 15 are user and system time
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      ticks += Number(fields[11]) + Number(fields[12]);
    } catch {
      // it ended: the scenario will notice by its answers
    }
  }
  return ticks / ticksPerSecond;
}

function busySeconds(): { serverCore: number; loadCore: number } {
  const stat = readFileSync('/proc/stat', 'latin1');
  const busyOf = (core: number): number => {
    const line = new RegExp(`^cpu${core} (.*)$`, 'm').exec(stat)?.[1] ?? '';
    const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = line.split(' ').map(Number);
    return (user + nice + system + irq + softirq + steal) / ticksPerSecond;
  };
  return { serverCore: busyOf(serverCore), loadCore: busyOf(loadCore) };
}

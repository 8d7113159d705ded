// How busy both cores were in a window, and by whom; and memory. Read from /proc at the edges of a window only.
import { readFileSync } from 'node:fs';
import { serverCore } from './pin.ts';
import { readOthers, ticksBetween, ticksPerSecond, type Usage, usageOf } from './processes.ts';

/** Shares of one core, 0 to 1. */
export interface CpuShares {
  server: number;
  load: number;
  /** Processes that are no part of the run: they disturb the measurement. */
  others: number;
  /** What the host of a virtual machine kept for itself: it disturbs, too. */
  stolen: number;
  /** All that the server's core had to do, for whomever, with interrupts and kernel threads. */
  serverCore: number;
}

export class CpuMeter {
  readonly #serverPids: readonly number[];
  #before: Reading;

  /** Made inside the load process: its own time is this process's, and the run is its parent with all below it. */
  constructor(serverPids: readonly number[]) {
    this.#serverPids = serverPids;
    this.#before = look(serverPids);
  }

  /** Blocks this process for about two milliseconds. */
  start(): void {
    this.#before = look(this.#serverPids);
  }

  read(): CpuShares {
    const before = this.#before;
    const now = look(this.#serverPids);
    const seconds = (now.at - before.at) / 1000;
    return {
      server: (now.server - before.server) / seconds,
      load: (now.load - before.load) / seconds,
      others: ticksBetween(before.others, now.others, now.cores) / ticksPerSecond / seconds,
      stolen: (now.stolen - before.stolen) / seconds,
      serverCore: (now.serverCore - before.serverCore) / seconds,
    };
  }

  /** The same where nothing is a load: what this process used counts as the server. */
  readAlone(): CpuShares {
    const shares = this.read();
    return { ...shares, server: shares.load, load: 0 };
  }
}

/** Seconds that were used so far. */
interface Reading {
  /** When, milliseconds. */
  at: number;
  server: number;
  load: number;
  others: Map<number, Usage>;
  stolen: number;
  serverCore: number;
  /** Numbers of the cores that the run uses. */
  cores: number[];
}

function look(serverPids: readonly number[]): Reading {
  // `loadCore` is the benchmark's to know; this process is pinned to it
  const cores = [...new Set([serverCore, usageOf(process.pid)?.core ?? serverCore])];
  const { user, system } = process.cpuUsage();
  return {
    at: performance.now(),
    // one that ended counts as 0: the scenario will notice by its answers
    server: serverPids.reduce((ticks, pid) => ticks + (usageOf(pid)?.own ?? 0), 0) / ticksPerSecond,
    load: (user + system) / 1e6,
    others: readOthers(process.ppid),
    stolen: cores.reduce((sum, core) => sum + secondsOf(core).stolen, 0),
    serverCore: secondsOf(serverCore).busy,
    cores,
  };
}

function secondsOf(core: number): { busy: number; stolen: number } {
  const stat = readFileSync('/proc/stat', 'latin1');
  const line = new RegExp(`^cpu${core} (.*)$`, 'm').exec(stat)?.[1] ?? '';
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = line.split(' ').map(Number);
  return { busy: (user + nice + system + irq + softirq + steal) / ticksPerSecond, stolen: steal / ticksPerSecond };
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

/** What the kernel holds for all TCP sockets of this machine, in bytes. */
export function tcpBytes(): number {
  const pages = /^TCP: .* mem (\d+)/m.exec(readFileSync('/proc/net/sockstat', 'latin1'))?.[1];
  return Number(pages ?? 0) * 4096;
}

import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release } from 'node:os';
import { loadCore, serverCore } from './pin.ts';

export interface Machine {
  cores: number;
  cpu: string;
  kernel: string;
  node: string;
  date: string;
  /** Load average of the last minute before the run: above ~0.3 someone else is at work. */
  loadBefore: number;
  notsentLowat: string;
}

export function readMachine(): Machine {
  if (process.platform !== 'linux') throw new Error('the benchmark needs Linux: it pins with taskset and reads /proc');
  return {
    cores: availableParallelism(),
    cpu: cpus()[0]?.model ?? 'unknown',
    kernel: `Linux ${release()}`,
    node: `Node ${process.version}`,
    date: new Date().toISOString(),
    loadBefore: loadavg()[0] ?? 0,
    notsentLowat: readFileSync('/proc/sys/net/ipv4/tcp_notsent_lowat', 'latin1').trim(),
  };
}

export function describeMachine(machine: Machine): string {
  const shared = loadCore === serverCore ? ' · ONE CORE: server and load share it, no figure is comparable' : '';
  return (
    `${machine.cores} cores (${machine.cpu}) · ${machine.kernel} · ${machine.node} · ${machine.date} · ` +
    `load before ${machine.loadBefore.toFixed(2)}${shared}`
  );
}

import { readdirSync, readFileSync } from 'node:fs';

/** One look at the machine: `cpu/0` → 12.5. Percent, bytes, bytes per second, or plain counts. */
export type Figures = ReadonlyMap<string, number>;

interface Look {
  /** ms, monotonic. */
  readonly at: number;
  /** What only grows; two looks give its rate per second. */
  readonly counters: ReadonlyMap<string, number>;
  readonly gauges: ReadonlyMap<string, number>;
}

/** Reads this machine's figures from /proc; those that are rates are over the time since the look before. */
export class Machine {
  #before: Look = look();

  read(): Figures {
    const now = look();
    const before = this.#before;
    this.#before = now;
    const figures = new Map<string, number>();
    const seconds = (now.at - before.at) / 1000;
    for (const [name, value] of now.counters) {
      const rate = Math.max(0, (value - (before.counters.get(name) ?? value)) / seconds);
      const percent = name.startsWith('cpu/') || name.startsWith('pressure/');
      figures.set(name, round(percent ? Math.min(100, rate) : rate));
    }
    for (const [name, value] of now.gauges) figures.set(name, round(value));
    return figures;
  }
}

function look(): Look {
  const counters = new Map<string, number>();
  const gauges = new Map<string, number>();
  readStat(counters, gauges);
  readMemory(gauges);
  readPressure(counters);
  readDisks(counters);
  readNetwork(counters);
  readSockets(gauges);
  const [one, five, fifteen] = words(text('loadavg'));
  gauges.set('load/1', Number(one)).set('load/5', Number(five)).set('load/15', Number(fifteen));
  return { at: performance.now(), counters, gauges };
}

function readStat(counters: Map<string, number>, gauges: Map<string, number>): void {
  for (const line of lines('stat')) {
    const [name = '', ...fields] = words(line);
    const first = Number(fields[0]);
    if (name.startsWith('cpu')) {
      const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = fields.map(Number);
      const core = name === 'cpu' ? undefined : name.slice(3);
      // Linux counts 100 jiffies a second: jiffies per second are percent
      if (core !== undefined) counters.set(`cpu/${core}`, user + nice + system + irq + softirq + steal);
    } else if (name === 'ctxt') counters.set('system/switches', first);
    else if (name === 'intr') counters.set('system/interrupts', first);
    else if (name === 'processes') counters.set('processes/started', first);
    else if (name === 'procs_running') gauges.set('processes/running', first);
    else if (name === 'procs_blocked') gauges.set('processes/blocked', first);
  }
}

function readMemory(gauges: Map<string, number>): void {
  const bytes = new Map(
    lines('meminfo').map(line => {
      const [name = '', kilobytes] = words(line);
      return [name.slice(0, -1), Number(kilobytes) * 1024];
    }),
  );
  const of = (name: string): number => bytes.get(name) ?? 0;
  gauges
    .set('memory/used', of('MemTotal') - of('MemAvailable'))
    .set('memory/available', of('MemAvailable'))
    .set('memory/free', of('MemFree'))
    .set('memory/cached', of('Cached'))
    .set('memory/slab', of('Slab'))
    .set('memory/dirty', of('Dirty'))
    .set('memory/swap', of('SwapTotal') - of('SwapFree'));
}

/** Share of the time in which some (or all) work waited for the resource; kernels without PSI have none. */
function readPressure(counters: Map<string, number>): void {
  for (const resource of ['cpu', 'memory', 'io']) {
    for (const line of lines(`pressure/${resource}`)) {
      const [kind, ...fields] = words(line);
      const microseconds = Number(fields.find(field => field.startsWith('total='))?.slice(6));
      if (resource !== 'cpu' || kind === 'some') counters.set(`pressure/${resource}/${kind}`, microseconds / 10_000);
    }
  }
}

function readDisks(counters: Map<string, number>): void {
  const disks = new Set(names('/sys/block').filter(name => !/^(loop|ram|zram|dm-)/.test(name)));
  for (const line of lines('diskstats')) {
    const [, , name = '', , , sectorsRead, , , , sectorsWritten] = words(line);
    if (!disks.has(name)) continue; // a partition: its disk has it too
    counters.set(`disk/${name}/read`, Number(sectorsRead) * 512);
    counters.set(`disk/${name}/written`, Number(sectorsWritten) * 512);
  }
}

function readNetwork(counters: Map<string, number>): void {
  for (const line of lines('net/dev').slice(2)) {
    const [name = '', fields = ''] = line.split(':');
    const [received, , , , , , , , sent] = words(fields).map(Number);
    const unused = received === 0 && sent === 0 && name.trim() !== 'lo';
    if (unused) continue;
    counters.set(`network/${name.trim()}/received`, received ?? 0);
    counters.set(`network/${name.trim()}/sent`, sent ?? 0);
  }
}

function readSockets(gauges: Map<string, number>): void {
  for (const line of lines('net/sockstat')) {
    const [protocol, ...fields] = words(line);
    const of = (name: string): number => Number(fields[fields.indexOf(name) + 1] ?? 0);
    if (protocol === 'TCP:') gauges.set('sockets/tcp', of('inuse')).set('sockets/closing', of('tw'));
    else if (protocol === 'UDP:') gauges.set('sockets/udp', of('inuse'));
  }
}

/** A file of /proc, empty when this kernel does not have it. */
function text(name: string): string {
  try {
    return readFileSync(`/proc/${name}`, 'utf8');
  } catch {
    return '';
  }
}

function lines(name: string): string[] {
  return text(name).split('\n').filter(Boolean);
}

function words(line: string): string[] {
  return line.trim().split(/\s+/);
}

function names(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

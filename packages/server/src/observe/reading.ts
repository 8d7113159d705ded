import { Counter, Gauge, type Registry } from 'prom-client';

/** One number, or several by the value of a label, as they are at this moment. */
export type Reading = number | Iterable<readonly [label: string, value: number]>;

/** What is read when somebody asks: rooms keep plain numbers, which costs nothing before. */
export interface Read {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge';
  readonly label?: string;
  readonly read: () => Reading;
}

export function register(registry: Registry, { name, help, type, label, read }: Read): void {
  const common = { name, help, labelNames: label === undefined ? [] : [label], registers: [registry] };
  const labels = (value: string): Record<string, string> => ({ [label!]: value });
  if (type === 'gauge') {
    new Gauge({
      ...common,
      collect() {
        const reading = read();
        this.reset();
        if (typeof reading === 'number') this.set(reading);
        else for (const [value, count] of reading) this.set(labels(value), count);
      },
    });
    return;
  }
  new Counter({
    ...common,
    collect() {
      const reading = read();
      this.reset();
      if (typeof reading === 'number') this.inc(reading);
      else for (const [value, count] of reading) this.inc(labels(value), count);
    },
  });
}

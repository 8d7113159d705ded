import { Counter, Gauge, type Registry } from 'prom-client';

/** The value of a label, or those of several. */
type LabelValues = string | readonly string[];

/** One number, or several by the value of their labels, as they are at this moment; undefined when nobody knows. */
export type Reading = number | undefined | Iterable<readonly [labels: LabelValues, value: number]>;

/** What is read when somebody asks: rooms keep plain numbers, which costs nothing before. */
export interface Read {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge';
  readonly label?: LabelValues;
  readonly read: () => Reading;
}

export function register(registry: Registry, { name, help, type, label, read }: Read): void {
  const labelNames = label === undefined ? [] : [label].flat();
  const common = { name, help, labelNames, registers: [registry] };
  const labels = (values: LabelValues): Record<string, string> =>
    Object.fromEntries([values].flat().map((value, at) => [labelNames[at]!, value]));
  if (type === 'gauge') {
    new Gauge({
      ...common,
      collect() {
        const reading = read();
        this.reset();
        if (reading === undefined) this.remove();
        else if (typeof reading === 'number') this.set(reading);
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
      if (reading === undefined) this.remove();
      else if (typeof reading === 'number') this.inc(reading);
      else for (const [value, count] of reading) this.inc(labels(value), count);
    },
  });
}

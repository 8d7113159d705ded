// A site of sensors: topics iot/<site>/<device>/<metric>, and the filters that people, dashboards and rules have on it.

const devicesOfSite = 100;
const metrics = ['temperature', 'humidity', 'pressure', 'battery', 'rssi', 'uptime', 'errors', 'state'] as const;

/** Of a thousand filters. What is left is exact. */
const shares = { device: 250, metricOfSite: 100, site: 40, metric: 1 } as const;

/** A generator of whole numbers below n, the same in each run (mulberry32). */
export function numbers(seed: number): (n: number) => number {
  let state = seed;
  return n => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % n;
  };
}

/** As many sites as make one device a filter, so that more filters do not only mean more matches. */
export class Site {
  readonly #sites: number;
  readonly #below: (n: number) => number;

  constructor(filters: number, seed: number) {
    this.#sites = Math.ceil(filters / devicesOfSite);
    this.#below = numbers(seed);
  }

  topic(): string {
    return `${this.#device(this.#site())}/${this.#metric()}`;
  }

  /** `count` topics, no two the same. */
  topics(count: number): string[] {
    const topics = new Set<string>();
    while (topics.size < count) topics.add(this.topic());
    return [...topics];
  }

  /** 61 % one topic, 25 % a device, 10 % a metric of a site, 4 % a site, 0.1 % a metric everywhere. */
  filter(): string {
    let pick = this.#below(1000);
    if (pick < shares.metric) return `iot/+/+/${this.#metric()}`;
    pick -= shares.metric;
    if (pick < shares.site) return `iot/${this.#site()}/#`;
    pick -= shares.site;
    if (pick < shares.metricOfSite) return `iot/${this.#site()}/+/${this.#metric()}`;
    pick -= shares.metricOfSite;
    if (pick < shares.device) return `${this.#device(this.#site())}/#`;
    return this.topic();
  }

  #site(): string {
    return `site-${String(this.#below(this.#sites)).padStart(4, '0')}`;
  }

  #device(site: string): string {
    return `iot/${site}/device-${String(this.#below(devicesOfSite)).padStart(3, '0')}`;
  }

  #metric(): string {
    return metrics[this.#below(metrics.length)]!;
  }
}

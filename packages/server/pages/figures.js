const everyMs = 1000;
const kept = 60;

/** The tiles: connections and rates, read from /metrics once a second while the page is seen. */
export class Figures {
  #element;
  #rates = [];
  #before;

  /** `element` finds an element by its id. */
  constructor(element) {
    this.#element = element;
  }

  start() {
    setInterval(() => document.hidden || this.#read(), everyMs);
    new ResizeObserver(() => this.#draw()).observe(this.#element('rates'));
    this.#read();
  }

  async #read() {
    let text;
    try {
      const response = await fetch('/metrics');
      if (!response.ok) return;
      text = await response.text();
    } catch {
      return; // the status line says that the server is away
    }
    const now = {
      at: performance.now(),
      // the head counts what comes in over every transport
      published: sum(text, 'tailrace_log_head_offset'),
      delivered: sum(text, 'tailrace_deliveries_total'),
    };
    const before = this.#before;
    this.#before = now;
    const connections = samples(text, 'tailrace_connections');
    this.#show('connections', total(connections));
    const kinds = connections
      .filter(({ value }) => value > 0)
      .map(({ labels, value }) => `${value} ${labels.transport}`);
    this.#element('transports').textContent = kinds.join(' · ') || '\u00a0';
    this.#element('published-total').textContent = `#${now.published.toLocaleString('en')} newest`;
    this.#element('delivered-total').textContent = `${now.delivered.toLocaleString('en')} in all`;
    if (before === undefined || now.published < before.published) return;
    const seconds = (now.at - before.at) / 1000;
    const rate = (now.published - before.published) / seconds;
    this.#show('published', Math.round(rate));
    this.#show('delivered', Math.round(Math.max(0, now.delivered - before.delivered) / seconds));
    this.#rates.push(rate);
    if (this.#rates.length > kept) this.#rates.shift();
    this.#draw();
  }

  #show(id, value) {
    this.#element(id).textContent = value.toLocaleString('en');
  }

  #draw() {
    const canvas = this.#element('rates');
    const { width, height } = canvas.getBoundingClientRect();
    canvas.width = Math.round(width * devicePixelRatio);
    canvas.height = Math.round(height * devicePixelRatio);
    const g = canvas.getContext('2d');
    g.scale(devicePixelRatio, devicePixelRatio);
    const style = getComputedStyle(canvas);
    const max = Math.max(4, ...this.#rates);
    const step = width / kept;
    g.fillStyle = style.getPropertyValue('--line');
    g.fillRect(0, height - 1, width, 1);
    g.fillStyle = style.getPropertyValue('--accent');
    this.#rates.forEach((rate, index) => {
      const bar = Math.round((rate / max) * (height - 2));
      g.fillRect((kept - this.#rates.length + index) * step, height - 1 - bar, step - 1.5, bar);
    });
  }
}

/** The samples of one metric in Prometheus' text: [{labels, value}]. */
function samples(text, name) {
  const found = [];
  for (const line of text.split('\n')) {
    const match = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (match === null || match[1] !== name) continue;
    const labels = Object.fromEntries(
      [...(match[2] ?? '').matchAll(/(\w+)="([^"]*)"/g)].map(([, key, value]) => [key, value]),
    );
    found.push({ labels, value: Number(match[3]) });
  }
  return found;
}

function total(found) {
  return found.reduce((sum, { value }) => sum + value, 0);
}

function sum(text, name) {
  return total(samples(text, name));
}

/** Time that a chart shows, ms. */
const span = 60_000;
const left = 62;
const bottom = 18;
const top = 6;

const units = {
  percent: value => `${value.toFixed(value < 10 ? 1 : 0)} %`,
  bytes: value => `${scaled(value, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB'])}`,
  'bytes/s': value => `${scaled(value, 1024, ['B', 'KiB', 'MiB', 'GiB'])}/s`,
  '1/s': value => `${scaled(value, 1000, ['', 'k', 'M'])}/s`,
  count: value => scaled(value, 1000, ['', 'k', 'M']),
};

function scaled(value, step, names) {
  let power = 0;
  while (value >= step && power < names.length - 1) {
    value /= step;
    power++;
  }
  const digits = value === 0 || value >= 100 || (power === 0 && Number.isInteger(value)) ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${names[power]}`.trim();
}

/** A card with one canvas: a line for each topic, moving to the left. */
export class Chart {
  element = document.createElement('section');
  #canvas = document.createElement('canvas');
  #legend = document.createElement('ul');
  #lines = [];
  #format;
  #max;

  /** `max`: end of the scale, or undefined for one that follows the values. */
  constructor(title, unit, max) {
    this.#format = units[unit];
    this.#max = max;
    const heading = document.createElement('h3');
    heading.textContent = title;
    this.#canvas.setAttribute('role', 'img');
    this.#canvas.setAttribute('aria-label', `${title}, last minute`);
    this.#legend.className = 'legend';
    this.element.className = 'card';
    this.element.append(heading, this.#canvas, this.#legend);
  }

  /** `points`: an array that the page goes on filling, each {at, value}. */
  addLine(name, points) {
    const item = document.createElement('li');
    const swatch = document.createElement('i');
    const label = document.createElement('span');
    const value = document.createElement('b');
    label.textContent = name;
    item.append(swatch, label, value);
    const line = { name, points, swatch, value, item };
    this.#lines.push(line);
    this.#lines.sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
    this.#legend.replaceChildren(...this.#lines.map(({ item }) => item));
  }

  /** `now`: the moment at the right edge on the publisher's clock. `outages`: [{from, to}] on the same clock. */
  draw(now, outages) {
    const canvas = this.#canvas;
    const { width, height } = canvas.getBoundingClientRect();
    const scale = devicePixelRatio;
    if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
    if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
    const g = canvas.getContext('2d');
    const style = getComputedStyle(document.documentElement);
    const colour = name => style.getPropertyValue(`--${name}`);
    g.setTransform(scale, 0, 0, scale, 0, 0);
    g.clearRect(0, 0, width, height);
    g.font = '11px system-ui, sans-serif';

    const begin = now - span;
    const max = this.#max ?? this.#scaleMax(begin);
    const x = at => left + ((at - begin) / span) * (width - left);
    const y = value => top + (1 - value / max) * (height - top - bottom);

    g.fillStyle = colour('away');
    for (const { from, to } of outages) {
      const x0 = Math.max(left, x(from));
      const x1 = Math.min(width, x(to));
      if (x1 > x0) g.fillRect(x0, top, x1 - x0, height - top - bottom);
    }

    g.lineWidth = 1;
    g.strokeStyle = colour('grid');
    g.fillStyle = colour('soft');
    g.textAlign = 'right';
    g.textBaseline = 'middle';
    for (const part of [0, 0.5, 1]) {
      const line = Math.round(y(max * part)) + 0.5;
      g.beginPath();
      g.moveTo(left, line);
      g.lineTo(width, line);
      g.stroke();
      g.fillText(this.#format(max * part).replace(/\.0+(?= |\/|$)/, ''), left - 7, line);
    }
    g.textBaseline = 'bottom';
    for (const [ago, align] of [
      [60, 'left'],
      [30, 'center'],
      [0, 'right'],
    ]) {
      g.textAlign = align;
      g.fillText(ago === 0 ? 'now' : `−${ago} s`, x(now - ago * 1000), height);
    }

    g.save();
    g.beginPath();
    g.rect(left, 0, width - left, height);
    g.clip();
    g.lineWidth = 1.6;
    g.lineJoin = 'round';
    this.#lines.forEach(({ points, swatch, value }, index) => {
      const lineColour = colour(`series-${index % 8}`);
      swatch.style.background = lineColour;
      const newest = points.at(-1);
      if (newest !== undefined) value.textContent = this.#format(newest.value);
      g.strokeStyle = lineColour;
      g.beginPath();
      let before;
      for (const point of points) {
        if (point.at < begin - 2000) continue;
        // a line is never drawn over a hole: what is missing shows
        const joined = before !== undefined && before.run === point.run && point.tick === before.tick + 1;
        if (joined) g.lineTo(x(point.at), y(point.value));
        else g.moveTo(x(point.at), y(point.value));
        before = point;
      }
      g.stroke();
    });
    g.restore();
  }

  /** 1, 2 or 5 times a power of ten (of two for bytes) above the largest value shown. */
  #scaleMax(begin) {
    let largest = 0;
    for (const { points } of this.#lines) {
      for (const { at, value } of points) if (at >= begin && value > largest) largest = value;
    }
    const binary = this.#format === units.bytes || this.#format === units['bytes/s'];
    if (binary) return 2 ** Math.ceil(Math.log2(Math.max(1024, largest * 1.05)));
    const power = 10 ** Math.floor(Math.log10(Math.max(1, largest)));
    return power * [1, 2, 5, 10].find(step => step * power >= largest);
  }
}

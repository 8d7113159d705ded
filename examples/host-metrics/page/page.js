import { Chart } from './chart.js';

/** Points kept of each topic: ten minutes. */
const keptMax = 2400;
const drawEveryMs = 40;

/** A card for each first level below `host/<name>/`. */
const cards = {
  cpu: { title: 'CPU by core', unit: 'percent', max: 100 },
  memory: { title: 'Memory', unit: 'bytes' },
  pressure: { title: 'Time lost to waiting', unit: 'percent', max: 100 },
  disk: { title: 'Disks', unit: 'bytes/s' },
  network: { title: 'Network', unit: 'bytes/s' },
  system: { title: 'Kernel', unit: '1/s' },
  load: { title: 'Load', unit: 'count' },
  processes: { title: 'Processes', unit: 'count' },
  sockets: { title: 'TCP sockets', unit: 'count' },
};

/** Topic → its points {run, tick, at, value, time} in the order they came, with nothing removed but the oldest. */
const series = new Map();
const state = { points: 0, holes: 0, doubles: 0, reconnects: 0, recovered: undefined, status: 'connecting' };
const charts = new Map();
/** Times without a stream, on the publisher's clock. */
const outages = [];
/** How far this clock is ahead of the publisher's, at most; the smallest seen is nearest to the truth. */
let skew = Number.POSITIVE_INFINITY;
let awaySince;
let lastEventId = '';
let drawnAt = 0;
Object.assign(globalThis, { series, state });

const { tailrace } = await (await fetch('config.json')).json();
document.getElementById('server').textContent = tailrace;
connect();
requestAnimationFrame(draw);

function connect() {
  const url = new URL('v1/sse', tailrace.endsWith('/') ? tailrace : `${tailrace}/`);
  for (const level of Object.keys(cards)) url.searchParams.append('filter', `host/+/${level}/#`);
  if (lastEventId === '') url.searchParams.set('from', '-1m');
  else url.searchParams.set('cursor', lastEventId);
  // the browser reconnects by itself, and says by Last-Event-ID after which point to go on
  const stream = new EventSource(url);
  stream.onmessage = event => {
    lastEventId = event.lastEventId;
    take(JSON.parse(event.data));
  };
  stream.addEventListener('tailrace', event => notice(JSON.parse(event.data)));
  stream.onerror = () => {
    awaySince ??= Date.now();
    state.status = 'reconnecting';
    // only an answer that forbids it, such as a proxy's, ends an EventSource for good
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
  };
}

function notice({ type, recovered }) {
  if (type === 'subscribed') {
    if (awaySince !== undefined) {
      state.reconnects++;
      state.recovered = recovered;
      outages.push({ from: awaySince - skew, to: Date.now() - skew });
      awaySince = undefined;
    }
    state.status = 'catching up';
  }
  if (type === 'live') state.status = 'live';
  if (type === 'gap' || type === 'reset') state.recovered = false;
}

function take({ topic, time, data: { run, tick, at, value } }) {
  let points = series.get(topic);
  if (points === undefined) {
    points = [];
    series.set(topic, points);
    const [, host, level, ...rest] = topic.split('/');
    chartOf(host, level).addLine(rest.join(' '), points);
  }
  const before = points.at(-1);
  if (before?.run === run) {
    if (tick <= before.tick) state.doubles++;
    else state.holes += tick - before.tick - 1;
  }
  points.push({ run, tick, at, value, time });
  if (points.length > keptMax) points.shift();
  state.points++;
  skew = Math.min(skew, Date.now() - at);
}

function chartOf(host, level) {
  const key = `${host}/${level}`;
  let chart = charts.get(key);
  if (chart === undefined) {
    const { title, unit, max } = cards[level];
    chart = new Chart(title, unit, max);
    charts.set(key, chart);
    const grid = gridOf(host);
    const order = Object.keys(cards);
    chart.element.dataset.order = order.indexOf(level);
    grid.append(chart.element);
    grid.append(...[...grid.children].sort((a, b) => a.dataset.order - b.dataset.order));
  }
  return chart;
}

function gridOf(host) {
  document.getElementById('empty')?.remove();
  const hosts = document.getElementById('hosts');
  for (const section of hosts.children) if (section.dataset.host === host) return section.lastElementChild;
  const section = document.createElement('section');
  const heading = document.createElement('h2');
  const grid = document.createElement('div');
  section.dataset.host = host;
  heading.textContent = host;
  grid.className = 'cards';
  section.append(heading, grid);
  hosts.append(section);
  return grid;
}

function draw() {
  requestAnimationFrame(draw);
  const now = Date.now();
  if (now - drawnAt < drawEveryMs) return;
  drawnAt = now;
  const away = awaySince === undefined ? [] : [{ from: awaySince - skew, to: now - skew }];
  for (const chart of charts.values()) chart.draw(now - skew, [...outages, ...away]);
  const { status, recovered } = state;
  const text = status === 'live' && recovered === true ? 'live, all recovered' : status;
  document.getElementById('status').dataset.state = status;
  document.getElementById('status-text').textContent = text;
  for (const name of ['points', 'holes', 'doubles', 'reconnects']) {
    document.getElementById(name).textContent = state[name].toLocaleString('en');
  }
}

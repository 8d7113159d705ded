import { Demo } from './demo.js';
import { Figures } from './figures.js';
import { MessageList } from './messages.js';
import { publish } from './publish.js';
import { ResumeCheck } from './resume-check.js';
import { Stream } from './stream.js';
import { Watch } from './watch.js';

const historyMax = 25;

const element = id => document.getElementById(id);
const list = new MessageList(element('messages'));
const check = new ResumeCheck();
const demo = new Demo(showDemo);
let filter = '#';
/** Sees what is published while the stream is cut; undefined while it is open. */
let watch;
let recovered;
let status = 'connecting';
/** The stream was open before: the next `subscribed` is a resume. */
let opened = false;
/** How often a filter was asked for. */
let turns = 0;

const stream = new Stream({
  status: showStatus,
  subscribed(frame) {
    recovered = frame.recovered;
    if (opened) list.divider(`resumed · recovered: ${recovered ?? 'no cursor was given'}`, 'resumed');
    opened = true;
  },
  message(message) {
    showMessage(message, check.take(message) ? 'recovered' : undefined);
  },
  live() {
    const verdict = check.end();
    if (verdict !== undefined) showVerdict(verdict);
  },
  notice({ type, reason, topic }) {
    if (type === 'reset') check.forget();
    if (type === 'end') list.divider(`topic ${topic} ended`, 'cut');
    else list.divider(`${type}: ${reason}; messages between are gone`, 'cut');
  },
  refused({ detail }) {
    showStatus('refused');
    showTrouble(detail);
  },
});

start();

async function start() {
  for (const span of document.querySelectorAll('[data-origin]')) span.textContent = location.origin;
  element('open-to-all').hidden = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(location.hostname);
  for (const button of document.querySelectorAll('[data-demo]')) button.onclick = () => demo.toggle();
  element('cut').onclick = () => (watch === undefined ? cut() : resume());
  element('filter-form').onsubmit = changeFilter;
  element('publish-form').onsubmit = publishFromBox;
  showDemo();
  showCut();
  new Figures(element).start();
  await read(filter);
}

/** Shows what `wanted` matches and nothing else: the newest messages that are there already, and on from right behind them. */
async function read(wanted) {
  const turn = ++turns;
  let past;
  try {
    past = await newest(wanted);
  } catch (error) {
    if (turn === turns) showTrouble(`${error.message}; still reading ${filter}`);
    return;
  }
  // the filter was changed once more meanwhile
  if (turn !== turns) return;
  filter = wanted;
  list.clear();
  showEmpty();
  if (watch !== undefined) {
    watch.stop().catch(() => {}); // what it saw went through the old filter
    watch = new Watch(filter, stream.cursor, showCut);
    list.divider('cut here', 'cut');
    showCut();
    return;
  }
  check.forget();
  for (const message of past.messages) {
    check.take(message);
    showMessage(message, 'earlier');
  }
  stream.cursor = past.cursor ?? stream.cursor;
  opened = false;
  stream.open(filter);
}

/** The newest messages of a filter, oldest first, and the cursor behind them. Throws what the server refuses for good. */
async function newest(filter) {
  try {
    const query = new URLSearchParams({ filter, order: 'newest', limit: historyMax });
    const response = await fetch(`/v1/log?${query}`);
    if (response.status === 400) return Promise.reject(new Error((await response.json()).detail));
    const lines = response.ok ? (await response.text()).trim().split('\n').map(JSON.parse) : [];
    const { done, cursor } = lines.pop() ?? {};
    if (done) return { messages: lines.reverse(), cursor };
  } catch {
    // no server answers: the stream tries until one does
  }
  return { messages: [] };
}

function showMessage(message, mark) {
  element('empty').hidden = true;
  list.message(message, mark);
}

function cut() {
  stream.close();
  element('check').hidden = true;
  watch = new Watch(filter, stream.cursor, showCut);
  list.divider('cut here', 'cut');
  showStatus('cut');
  showCut();
}

async function resume() {
  element('cut').disabled = true;
  try {
    check.begin(await watch.stop());
    watch = undefined;
    stream.open(filter);
    element('filter-error').hidden = true;
  } catch (error) {
    showTrouble(error instanceof TypeError ? 'no server answers; resume when it is back' : error.message);
    element('cut').disabled = false;
  }
  showCut();
}

function changeFilter(event) {
  event.preventDefault();
  element('filter-error').hidden = true;
  read(element('filter').value.trim());
}

async function publishFromBox(event) {
  event.preventDefault();
  const output = element('published-as');
  const began = performance.now();
  try {
    const { offset } = await publish(element('topic').value.trim(), element('data').value);
    output.className = '';
    output.textContent = `stored as #${offset} in ${(performance.now() - began).toFixed(1)} ms`;
  } catch (error) {
    output.className = 'error';
    output.textContent = error.message;
  }
}

function showStatus(word) {
  status = word;
  element('status').dataset.state = status;
  element('status').textContent = status;
  element('cut').disabled = status !== 'live' && status !== 'cut';
}

function showEmpty() {
  element('empty').hidden = false;
  element('empty-text').textContent = filter === '#' ? 'Nothing published yet.' : `Nothing that matches ${filter} yet.`;
  // the samples go to demo/…
  element('empty-ways').hidden = filter !== '#' && !filter.startsWith('demo/');
}

function showCut() {
  const text = element('cut-text');
  element('cut').textContent = watch === undefined ? 'Cut the stream' : 'Resume';
  if (watch === undefined) {
    text.textContent =
      'Cut the stream, let messages be published meanwhile, and resume: they arrive once each, in order.';
    return;
  }
  const count = document.createElement('b');
  count.id = 'missed';
  count.textContent = watch.identities.size.toLocaleString('en');
  const cursor = document.createElement('code');
  cursor.textContent = stream.cursor;
  text.replaceChildren(count, ' published since the cut at cursor ', cursor);
}

function showVerdict({ missed, capped, recovered: came, doubles, gaps, ordered }) {
  const good = doubles === 0 && gaps === 0 && ordered && recovered === true;
  const line = element('check');
  line.className = good ? 'good' : 'error';
  const parts = [
    `missed ${missed}${capped ? ' or more' : ''}`,
    `recovered ${came}`,
    `doubles ${doubles}`,
    `gaps ${gaps}`,
    ordered ? 'in order' : 'out of order',
    `recovered: ${recovered}`,
  ];
  const last = parts.pop();
  // a line that is broken ends with the dot
  line.replaceChildren(...parts.flatMap(part => [unbroken(`${part} ·`), ' ']), unbroken(last));
  line.hidden = false;
  list.divider('live', 'resumed');
}

function showTrouble(text) {
  element('filter-error').textContent = text;
  element('filter-error').hidden = false;
}

function showDemo() {
  for (const button of document.querySelectorAll('[data-demo]')) {
    button.textContent = demo.running ? 'Stop sending' : 'Send samples';
  }
}

function unbroken(text) {
  const span = document.createElement('span');
  span.textContent = text;
  return span;
}

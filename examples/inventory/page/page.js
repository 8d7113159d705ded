import { Stock } from './stock.js';

const body = document.getElementById('rows');
const template = document.getElementById('row');
/** Elements by `<warehouse> <sku>`. */
const shown = new Map();
/** Rows that somebody is editing here: the row as it was when the edit began. */
const edited = new Map();

const { tailrace } = await (await fetch('config.json')).json();
const stock = new Stock(tailrace, draw);
Object.assign(globalThis, { stock });
document.getElementById('server').textContent = tailrace;
document.getElementById('add').addEventListener('submit', add);
draw();

function draw() {
  for (const [id, element] of shown) {
    if (stock.rows.has(id)) continue;
    element.remove();
    shown.delete(id);
    edited.delete(id);
  }
  const ids = [...stock.rows.keys()].sort();
  for (const [at, id] of ids.entries()) {
    const element = shown.get(id) ?? elementOf(id);
    show(id, element);
    if (body.children[at] !== element) body.insertBefore(element, body.children[at] ?? null);
  }
  document.getElementById('status').dataset.state = stock.status;
  document.getElementById('status-text').textContent = stock.status;
  document.getElementById('count').textContent = stock.rows.size;
  document.getElementById('changes').textContent = stock.changes;
  document.getElementById('empty').hidden = ids.length > 0;
}

function elementOf(id) {
  const element = template.content.firstElementChild.cloneNode(true);
  const { warehouse, sku } = stock.rows.get(id);
  element.dataset.id = id;
  element.querySelector('.warehouse').textContent = warehouse;
  element.querySelector('.sku').textContent = sku;
  const input = element.querySelector('input');
  input.addEventListener('input', () => {
    if (!edited.has(id)) edited.set(id, stock.rows.get(id));
    show(id, element);
  });
  element.querySelector('form').addEventListener('submit', event => {
    event.preventDefault();
    void save(id, edited.get(id) ?? stock.rows.get(id), Number(input.value));
  });
  element.querySelector('.theirs').addEventListener('click', () => settle(id));
  element.querySelector('.mine').addEventListener('click', () => save(id, stock.rows.get(id), Number(input.value)));
  element.querySelector('.remove').addEventListener('click', () => remove(id));
  shown.set(id, element);
  return element;
}

function show(id, element) {
  const row = stock.rows.get(id);
  const mine = edited.get(id);
  element.querySelector('.name').textContent = row.name;
  element.querySelector('.stock').textContent = row.stock;
  const input = element.querySelector('input');
  if (mine === undefined) input.value = row.stock;
  element.classList.toggle('edited', mine !== undefined);
}

/** Publishes on the condition that the row is still the one that the edit began with. */
async function save(id, before, count) {
  const { warehouse, sku, offset, name } = before;
  const problem = await stock.publish(warehouse, sku, offset, { name, stock: count });
  if (problem === undefined) settle(id);
  else if (problem.code === 'expect_failed') showConflict(id, problem.current);
  else say(problem.detail);
}

async function remove(id) {
  const { warehouse, sku, offset } = stock.rows.get(id);
  const problem = await stock.publish(warehouse, sku, offset);
  if (problem?.code === 'expect_failed') showConflict(id, problem.current);
  else if (problem !== undefined) say(problem.detail);
}

function showConflict(id, current) {
  const element = shown.get(id);
  if (element === undefined) return;
  element.querySelector('.conflict').hidden = false;
  element.querySelector('.conflict span').textContent =
    current === null ? 'Somebody removed it meanwhile.' : `Somebody set it to ${current.data.stock} meanwhile.`;
}

/** The edit is over; the row shows what is there. */
function settle(id) {
  edited.delete(id);
  const element = shown.get(id);
  if (element === undefined) return;
  element.querySelector('.conflict').hidden = true;
  show(id, element);
}

async function add(event) {
  event.preventDefault();
  const form = event.target;
  const { warehouse, sku, name, count } = Object.fromEntries(new FormData(form));
  const problem = await stock.publish(warehouse, sku, 'absent', { name, stock: Number(count) });
  if (problem === undefined) form.reset();
  say(problem?.code === 'expect_failed' ? `${warehouse} has ${sku} already.` : (problem?.detail ?? ''));
}

function say(text) {
  document.getElementById('message').textContent = text;
}

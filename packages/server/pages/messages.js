/** Rows in the page; older ones go, they are in the log. */
const rowsMax = 300;
const textMax = 600;

/** The list of messages: takes any number, draws once a frame, follows its end unless the reader scrolled up. */
export class MessageList {
  #list;
  #waiting = [];
  #frame;

  constructor(list) {
    this.#list = list;
  }

  /** `mark`: a class for the row, such as `recovered`. */
  message(message, mark) {
    this.#push(() => messageRow(message, mark));
  }

  /** A line across the list. */
  divider(text, kind) {
    this.#push(() => row('divider', kind, span('', text)));
  }

  /** Takes everything away, also what was not drawn yet. */
  clear() {
    this.#waiting.length = 0;
    this.#list.replaceChildren();
  }

  #push(make) {
    this.#waiting.push(make);
    // in a hidden tab no frame comes; what would not be kept need not wait
    if (this.#waiting.length > 2 * rowsMax) this.#waiting.splice(0, this.#waiting.length - rowsMax);
    this.#frame ??= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    const list = this.#list;
    const following = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    const rows = this.#waiting.splice(0).slice(-rowsMax);
    list.classList.toggle('busy', rows.length > 8);
    list.append(...rows.map(make => make()));
    while (list.children.length > rowsMax) list.firstElementChild.remove();
    if (following) list.scrollTop = list.scrollHeight;
    this.#frame = undefined;
  }
}

function messageRow(message, mark) {
  const { topic, time, offset } = message;
  const when = new Date(time);
  const clock = `${when.toLocaleTimeString('en-GB')}.${String(when.getMilliseconds()).padStart(3, '0')}`;
  const item = row(
    'message',
    mark,
    span('time', clock),
    span('topic', topic),
    span('data', textOf(message)),
    span('offset', offset === undefined ? '' : `#${offset}`),
  );
  item.dataset.topic = topic;
  if (offset !== undefined) item.dataset.offset = offset;
  return item;
}

function textOf({ data, encoding, contentType, end, key }) {
  if (end) return 'the topic ended';
  if (data === undefined) return key === undefined ? '(no data)' : `key ${key} deleted`;
  if (encoding === 'base64') return `${contentType ?? 'bytes'}, base64 ${data.slice(0, textMax)}`;
  const text = typeof data === 'string' && contentType !== undefined ? data : JSON.stringify(data);
  return text.length > textMax ? `${text.slice(0, textMax)}…` : text;
}

function row(kind, mark, ...children) {
  const item = document.createElement('li');
  item.className = mark === undefined ? kind : `${kind} ${mark}`;
  item.append(...children);
  return item;
}

function span(name, text) {
  const element = document.createElement('span');
  element.className = name;
  element.textContent = text;
  return element;
}

// Accepts beside a fan-out, the plain way: one `net.Server`, one listener. Its fan-out is as considerate as the
// server's own (one shared buffer a pass, slices of 0.5 ms, whatever came meanwhile is the next pass), so that what is
// compared is how connections are accepted.
import { createServer, type Socket } from 'node:net';

const sliceMs = 0.5;
const head = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\r\n';
const answer = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}';

const subscribers = new Set<Socket>();
let pending: string[] = [];
let pass: { members: IterableIterator<Socket>; buffer: Buffer } | undefined;

function slice(): void {
  if (pass === undefined) return;
  const deadline = performance.now() + sliceMs;
  while (performance.now() < deadline) {
    const { value: member, done } = pass.members.next();
    if (done) {
      pass = undefined;
      beginPass();
      break;
    }
    member.write(pass.buffer);
  }
  if (pass !== undefined) setImmediate(slice);
}

function beginPass(): void {
  if (pass !== undefined || pending.length === 0) return;
  pass = { members: [...subscribers].values(), buffer: Buffer.from(pending.join('')) };
  pending = [];
}

const server = createServer({ noDelay: true }, socket => {
  let text = '';
  socket.setEncoding('latin1');
  socket.on('error', () => socket.destroy());
  socket.on('close', () => subscribers.delete(socket));
  socket.on('data', (chunk: string) => {
    text += chunk;
    const end = text.indexOf('\r\n\r\n');
    if (end === -1) return;
    if (text.startsWith('GET')) {
      text = '';
      socket.write(head);
      subscribers.add(socket);
      return;
    }
    const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
    const bodyEnd = end + 4 + length;
    if (text.length < bodyEnd) return;
    const idle = pass === undefined;
    pending.push(`data: ${Buffer.from(text.slice(end + 4, bodyEnd), 'latin1')}\n\n`);
    text = text.slice(bodyEnd);
    socket.write(answer);
    beginPass();
    if (idle) slice();
  });
});
server.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 });

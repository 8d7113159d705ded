// Writes given bytes to given sockets, no more: the floor under a resume. The first byte from any client starts it.
// With a number of clients as third argument: once all of them have asked, each socket is given the same bytes again
// whenever it has taken them, for ever (scenario `ceiling`).
import { readFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';

const [, , port, file = '', clients] = process.argv;
const bytes = readFileSync(file);
const sockets = new Set<Socket>();
let asked = 0;

function writeForEver(socket: Socket): void {
  if (!socket.destroyed) socket.write(bytes, () => writeForEver(socket));
}

const server = createServer({ noDelay: true }, socket => {
  sockets.add(socket);
  // a client may be connected before it is taken in here
  if (clients === undefined && asked > 0) socket.write(bytes);
  socket.on('error', () => socket.destroy());
  socket.on('close', () => {
    sockets.delete(socket);
    if (sockets.size === 0) asked = 0; // a new round
  });
  socket.on('data', () => {
    asked++;
    if (clients === undefined) {
      if (asked === 1) for (const each of sockets) each.write(bytes);
      return;
    }
    socket.write('HTTP/1.1 200 OK\r\n\r\n');
    if (asked === Number(clients)) for (const each of sockets) writeForEver(each);
  });
});
server.listen({ port: Number(port), host: '127.0.0.1', backlog: 4096 });

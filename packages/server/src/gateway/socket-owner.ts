import type { Socket } from 'node:net';

/** Who has a connection now; there is exactly one (I7). */
export interface SocketOwner {
  /** Bytes from the peer. */
  received(chunk: Buffer): void;
  /** The socket is closed: release everything. */
  gone(): void;
}

const key: unique symbol = Symbol('owner');
type OwnedSocket = Socket & { [key]?: SocketOwner | undefined };

/**
 * Gives a socket to an owner. The listeners are shared functions that find the owner by the socket, and they stay when
 * the owner changes: listeners of its own for each stage would be paid by every idle connection.
 */
export function own(socket: Socket, owner: SocketOwner): void {
  const owned: OwnedSocket = socket;
  if (owned[key] === undefined) {
    socket.on('data', onData);
    socket.on('close', onClose);
    socket.on('error', onError);
  }
  owned[key] = owner;
}

/** Takes the listeners off again: somebody else will have the socket. */
export function disown(socket: Socket): void {
  (socket as OwnedSocket)[key] = undefined;
  socket.off('data', onData);
  socket.off('close', onClose);
  socket.off('error', onError);
}

function onData(this: OwnedSocket, chunk: Buffer): void {
  this[key]?.received(chunk);
}

function onClose(this: OwnedSocket): void {
  this[key]?.gone();
}

// `close` follows, and says all that an owner has to know
function onError(): void {}

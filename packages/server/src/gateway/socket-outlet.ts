import type { Socket } from 'node:net';
import type { FinishWaiter, Outlet } from '../hub/index.ts';

const nothing = Buffer.alloc(0);

/** An outlet over a TCP socket, or over the socket under a response whose body has no framing of its own. */
export class SocketOutlet implements Outlet {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  get unfinished(): number {
    return this.#socket.writableLength;
  }

  get left(): number {
    // what node:net's own time-out looks at: `writableLength` falls only when a whole buffer has been taken
    const { _handle } = this.#socket as unknown as { readonly _handle: { readonly writeQueueSize: number } | null };
    return this.#socket.writableLength + (_handle?.writeQueueSize ?? 0);
  }

  write(buffer: Buffer): void {
    if (!this.#socket.destroyed && !this.#socket.writableEnded) this.#socket.write(buffer);
  }

  whenFinished(waiter: FinishWaiter): void {
    // a write behind the end is an error that would cut what the end still waits for
    if (this.#socket.writableEnded) return;
    // the callback of an empty write comes when all before it has been taken; `drain` does not come at all below 64 KiB
    this.#socket.write(nothing, error => {
      if (error === null || error === undefined) waiter.finished();
    });
  }

  end(last?: Buffer): void {
    if (this.#socket.destroyed || this.#socket.writableEnded) return;
    if (last === undefined) this.#socket.end();
    else this.#socket.end(last);
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

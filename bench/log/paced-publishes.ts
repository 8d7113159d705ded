// The load of a log process: publishes at a steady rate through its socket, whatever it does meanwhile.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Histogram } from '../histogram.ts';
import { until } from '../wait.ts';

const asked = Buffer.from([1]);
const answersWithin = 30_000;

export class PacedPublishes {
  acks: Histogram = new Histogram();
  readonly #socket: Socket;
  readonly #timer: NodeJS.Timeout;
  readonly #began = performance.now();
  /** When each publish that waits for its ack was sent; acks come in their order. */
  readonly #sentAt: number[] = [];
  #sent = 0;

  private constructor(socket: Socket, perSecond: number) {
    this.#socket = socket;
    socket.on('data', acks => this.#take(acks.length));
    this.#timer = setInterval(() => {
      const due = Math.floor(((performance.now() - this.#began) * perSecond) / 1000);
      for (; this.#sent < due; this.#sent++) {
        this.#sentAt.push(performance.now());
        socket.write(asked);
      }
    }, 1);
  }

  static async through(door: string, perSecond: number): Promise<PacedPublishes> {
    const socket = connect(door).setNoDelay();
    await once(socket, 'connect');
    return new PacedPublishes(socket, perSecond);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    const answered = await until(() => this.#sentAt.length === 0, answersWithin);
    this.#socket.destroy();
    if (!answered) throw new Error(`${this.#sentAt.length} publishes were not acknowledged`);
  }

  #take(count: number): void {
    const now = performance.now();
    for (const sent of this.#sentAt.splice(0, count)) this.acks.record((now - sent) * 1000);
  }
}

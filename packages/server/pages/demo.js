import { publish } from './publish.js';

const everyMs = 250;

/** A small stream of sample messages: a clock and three thermometers. */
export class Demo {
  #timer;
  #count = 0;
  #temperatures = [19.4, 21, 22.7];
  #onChange;

  constructor(onChange) {
    this.#onChange = onChange;
  }

  get running() {
    return this.#timer !== undefined;
  }

  toggle() {
    if (this.running) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    } else {
      this.#timer = setInterval(() => this.#send(), everyMs);
      this.#send();
    }
    this.#onChange();
  }

  #send() {
    const sensor = this.#count++ % 4;
    const celsius = this.#temperatures;
    let sent;
    if (sensor === 0) sent = publish('demo/clock', JSON.stringify({ tick: this.#count, at: new Date().toISOString() }));
    else {
      const warmer = celsius[sensor - 1] + (Math.random() - 0.5) * 0.4;
      celsius[sensor - 1] = Math.round(warmer * 100) / 100;
      sent = publish(`demo/sensor/${sensor}`, JSON.stringify({ celsius: celsius[sensor - 1] }));
    }
    // while the server is away the demo goes on trying; the status line says that it is
    sent.catch(() => {});
  }
}

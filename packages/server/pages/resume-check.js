import { identityOf, watchMax } from './watch.js';

/** How many messages received before the cut are remembered, to recognise one that comes twice. */
const rememberedMax = 20_000;

/** Compares what a resumed stream brings with what a witness saw published while it was cut. */
export class ResumeCheck {
  #received = new Set();
  #newest = new Map();
  /** Identities published while the stream was cut; undefined while nothing is checked. */
  #missed;
  #recovered = 0;
  #doubles = 0;
  #disorder = 0;

  /** Another log answers: its offsets mean other messages. */
  forget() {
    this.#received.clear();
    this.#newest.clear();
  }

  /** From here on `missed` has to arrive, once each. */
  begin(missed) {
    this.#missed = missed;
    this.#recovered = this.#doubles = this.#disorder = 0;
  }

  /** Takes a message that arrived; true when it is one of those missed. */
  take(message) {
    const { topic, offset } = message;
    if (offset === undefined) return false;
    const identity = identityOf(message);
    const again = this.#received.has(identity);
    const late = offset <= (this.#newest.get(topic) ?? -1);
    const wasMissed = this.#missed?.has(identity) === true;
    if (again) this.#doubles++;
    else if (wasMissed) this.#recovered++;
    if (late && !again) this.#disorder++;
    this.#received.add(identity);
    this.#newest.set(topic, offset);
    if (this.#received.size > rememberedMax) this.#received.delete(this.#received.values().next().value);
    if (this.#newest.size > rememberedMax) this.#newest.delete(this.#newest.keys().next().value);
    return wasMissed;
  }

  /** The verdict, once the stream is live again; undefined when nothing was checked. */
  end() {
    const missed = this.#missed;
    this.#missed = undefined;
    if (missed === undefined) return undefined;
    return {
      missed: missed.size,
      capped: missed.size >= watchMax,
      recovered: this.#recovered,
      doubles: this.#doubles,
      gaps: missed.size - this.#recovered,
      ordered: this.#disorder === 0,
    };
  }
}

/** Reads an event stream in which each `data:` is one line: `onRetry` for `retry:`, `onData` for each event. */
export class SseText {
  #rest = '';
  readonly #onData: (data: string) => void;
  readonly #onRetry: (ms: number) => void;

  constructor(onData: (data: string) => void, onRetry: (ms: number) => void) {
    this.#onData = onData;
    this.#onRetry = onRetry;
  }

  take(text: string): void {
    const all = this.#rest + text;
    let at = 0;
    for (let end = all.indexOf('\n'); end !== -1; end = all.indexOf('\n', at)) {
      if (all.startsWith('data: ', at)) this.#onData(all.slice(at + 6, end));
      else if (all.startsWith('retry: ', at)) this.#onRetry(Number(all.slice(at + 7, end)));
      at = end + 1;
    }
    this.#rest = all.slice(at);
  }
}

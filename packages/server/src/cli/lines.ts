import { CommandError } from './command.ts';

/** No message is larger than 32 MiB; base64 and JSON escapes make lines longer. */
const longestLine = 64 * 1024 * 1024;

/** Cuts a text that comes in chunks into lines; `\r\n` ends a line as `\n` does. */
export class LineSplitter {
  #rest: string[] = [];
  #restLength = 0;

  /** Lines that `chunk` completed. */
  push(chunk: string): string[] {
    const lines = chunk.split('\n');
    const last = lines.pop()!;
    if (lines.length > 0) {
      lines[0] = this.#rest.join('') + lines[0]!;
      this.#rest = [];
      this.#restLength = 0;
    }
    if (last !== '') {
      this.#rest.push(last);
      this.#restLength += last.length;
      if (this.#restLength > longestLine) throw new CommandError(`a line is longer than ${longestLine} characters`);
    }
    return lines.map(withoutReturn);
  }

  /** What came after the last line end, if anything. */
  end(): string[] {
    return this.#rest.length === 0 ? [] : [withoutReturn(this.#rest.join(''))];
  }
}

function withoutReturn(line: string): string {
  return line.endsWith('\r') ? line.slice(0, -1) : line;
}

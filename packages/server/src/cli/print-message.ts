import type { Envelope } from '@tailrace/protocol';
import type { Colours } from './colour.ts';

/** How messages are printed: topic and data, the envelope as JSON, or the bytes alone. */
export type PrintForm = 'text' | 'json' | 'raw';

export interface Printer {
  print(message: Envelope): void;
  /** Resolves when all that was printed has been taken by whoever reads it. */
  flushed(): Promise<void>;
}

/** A printer to standard output. */
export function printer(form: PrintForm, colours: Colours): Printer {
  const { stdout } = process;
  // a message must not be able to drive the terminal of whoever reads it
  const clean = stdout.isTTY ? (text: string) => text.replaceAll(controls, visible) : (text: string) => text;
  return {
    print(message) {
      if (form === 'json') stdout.write(`${JSON.stringify(message)}\n`);
      else if (form === 'raw') stdout.write(stdout.isTTY ? `${clean(dataText(message))}\n` : rawBytes(message));
      else stdout.write(`${colours.cyan(clean(heading(message)))} ${clean(dataText(message))}\n`);
    },
    flushed: () => new Promise((resolve, reject) => stdout.write('', error => (error ? reject(error) : resolve()))),
  };
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const controls = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

function visible(character: string): string {
  return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
}

function heading({ topic, key, event }: Envelope): string {
  return `${topic}${key === undefined ? '' : `[${key}]`}${event === undefined ? '' : ` (${event})`}`;
}

function dataText({ data, end, key }: Envelope): string {
  if (data === undefined) return end === true ? '(ended)' : key === undefined ? '' : '(deleted)';
  return typeof data === 'string' ? data : JSON.stringify(data);
}

/** The payload and a line end; JSON as compact text, base64 decoded. */
function rawBytes(message: Envelope): Uint8Array {
  const { data, encoding, contentType } = message;
  if (data === undefined) return Buffer.from('\n');
  if (encoding === 'base64') return Buffer.concat([Buffer.from(String(data), 'base64'), Buffer.from('\n')]);
  const isText = contentType?.startsWith('text/') === true && typeof data === 'string';
  return Buffer.from(`${isText ? data : JSON.stringify(data)}\n`);
}

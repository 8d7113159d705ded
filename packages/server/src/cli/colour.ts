import type { WriteStream } from 'node:tty';

/** Colours for one stream: only on a terminal that has them, and never when NO_COLOR is set (https://no-color.org). */
export interface Colours {
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
  yellow(text: string): string;
  cyan(text: string): string;
}

export function coloursFor(
  stream: { readonly isTTY?: boolean },
  env: Readonly<Record<string, string | undefined>> = process.env,
): Colours {
  const on =
    stream.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb' && (stream as WriteStream).getColorDepth?.() > 1;
  const paint =
    (code: number, end: number) =>
    (text: string): string =>
      on ? `\u001b[${code}m${text}\u001b[${end}m` : text;
  return { bold: paint(1, 22), dim: paint(2, 22), red: paint(31, 39), yellow: paint(33, 39), cyan: paint(36, 39) };
}

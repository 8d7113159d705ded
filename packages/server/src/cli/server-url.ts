import { type Input, type Option, UsageError } from './command.ts';

export const urlOption: Option = {
  type: 'text',
  value: 'url',
  help: 'The server; else what TAILRACE_URL says, else http://127.0.0.1:4080.',
};

/** The server that a client command talks to; a path before /v1 is kept. */
export function serverUrl(input: Input): URL {
  const text = input.text('url') || process.env.TAILRACE_URL || 'http://127.0.0.1:4080';
  let url: URL;
  try {
    url = new URL(text.endsWith('/') ? text : `${text}/`);
  } catch {
    throw new UsageError(`"${text}" is no URL; the server is named like http://127.0.0.1:4080`);
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new UsageError(`"${text}" is not an http: or https: URL`);
  return url;
}

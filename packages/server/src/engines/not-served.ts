import { withoutPassword } from '../log/without-password.ts';

/** The start cannot go on: the server, which people call `name`, is not there or must not be used. */
export function notServed(name: string, url: string, why: string): Error {
  return new Error(`the log cannot be opened: ${name} at ${withoutPassword(url)} does not serve it: ${why}`);
}

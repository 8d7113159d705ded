import { checkFilter, isTailraceError } from '@tailrace/protocol';
import { UsageError } from './command.ts';

/** Checked before connecting: a slip should not look like a fault of the server. */
export function checkFilterArguments(filters: readonly string[]): void {
  try {
    for (const filter of filters) checkFilter(filter);
  } catch (error) {
    throw isTailraceError(error) ? new UsageError(error.message) : error;
  }
}

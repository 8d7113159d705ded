import { cursorTokenMaxBytes } from './cursor.ts';
import { TailraceError } from './errors.ts';
import { describe, optionalString, unknownField } from './fields.ts';
import type { InputLimits } from './limits.ts';
import { setAside, unsupported } from './set-aside.ts';
import { checkFilter, isReserved } from './topic.ts';

/** One item of `subscribe`: checked, with its label decided. */
export interface SubscriptionRequest {
  readonly filters: readonly string[];
  /** Label; by default the filter when there is one, else the filters joined by a space. */
  readonly sub: string;
  readonly cursor: string | undefined;
  readonly from: string | undefined;
}

/** An item that failed on its own: the others of its request go on. */
export interface RefusedItem {
  readonly sub: string | undefined;
  readonly error: TailraceError;
}

const subscriptionFields = ['filter', 'sub', 'cursor', 'from'];

/** Reads one item of `subscribe` or `subscriptions`. */
export function readSubscription(item: unknown, limits: InputLimits): SubscriptionRequest | RefusedItem {
  let sub: string | undefined;
  try {
    if (typeof item !== 'object' || item === null || Array.isArray(item))
      throw new TailraceError(
        'bad_request',
        `a subscription is an object such as {"filter":"a/#"}, not ${describe(item)}`,
      );
    const fields = item as Readonly<Record<string, unknown>>;
    sub = optionalString(fields, 'sub', 64);
    for (const name of Object.keys(fields)) {
      if (subscriptionFields.includes(name)) continue;
      if (setAside.subscription.includes(name)) throw unsupported(name);
      throw unknownField('a subscription', name, subscriptionFields);
    }
    const filters = checkFilters(fields.filter, limits);
    if (sub === undefined) sub = defaultLabel(filters);
    return {
      filters,
      sub,
      cursor: optionalString(fields, 'cursor', cursorTokenMaxBytes),
      from: optionalString(fields, 'from', 80),
    };
  } catch (error) {
    if (error instanceof TailraceError) return { sub, error: sub === undefined ? error : error.placed({ sub }) };
    throw error;
  }
}

function defaultLabel(filters: readonly string[]): string {
  const label = filters.join(' ');
  if (label.length <= 64) return label;
  throw new TailraceError(
    'bad_request',
    'the filters are too long to serve as label: give the subscription a "sub" of at most 64 characters',
    { at: { field: 'sub' } },
  );
}

/** Checks one filter or a list of them; throws the first fault. */
export function checkFilters(value: unknown, limits: InputLimits): string[] {
  const list = typeof value === 'string' ? [value] : value;
  if (!Array.isArray(list) || list.length === 0)
    throw new TailraceError('filter_invalid', 'filter is missing: name at least one, such as "news/#"', {
      at: { field: 'filter' },
    });
  if (list.length > limits.filters)
    throw new TailraceError(
      'too_many_filters',
      `${list.length} filters in one subscription; at most ${limits.filters} are allowed`,
      { at: { field: 'filter' } },
    );
  return list.map((filter: unknown) => {
    if (typeof filter !== 'string')
      throw new TailraceError('filter_invalid', `a filter is a string, not ${describe(filter)}`, {
        at: { field: 'filter' },
      });
    checkFilter(filter, limits);
    if (isReserved(filter))
      throw new TailraceError(
        'unsupported',
        `filter ${JSON.stringify(filter)}: topics that begin with "$" are kept for a later version and not offered by this server`,
        { at: { field: 'filter' } },
      );
    return filter;
  });
}

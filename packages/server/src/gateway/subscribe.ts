import {
  filterSet,
  isTailraceError,
  type Ref,
  type RefusedItem,
  type SubscriptionRequest,
  toTailraceError,
} from '@tailrace/protocol';
import type { Session, Start } from '../hub/index.ts';
import type { Gateway } from './gateway.ts';

/**
 * Subscribes item by item; each succeeds or fails alone (§7), and each is answered before the next is begun. Returns
 * undefined when all is done at once, as it is for `now` and for good cursors.
 */
export function subscribeAll(
  gateway: Gateway,
  session: Session,
  items: readonly (SubscriptionRequest | RefusedItem)[],
  ref: Ref | undefined,
  first = 0,
): Promise<void> | undefined {
  for (let index = first; index < items.length; index++) {
    const item = items[index]!;
    try {
      if ('error' in item) throw item.error;
      const filters = filterSet(item.filters);
      const start = gateway.hub.resolveStart(filters, item);
      if (start instanceof Promise) {
        return start
          .then(ready => subscribeOne(gateway, session, item, ready, ref, index))
          .catch((error: unknown) => refuseItem(gateway, session, item.sub, error, ref, index))
          .then(() => (session.closed ? undefined : subscribeAll(gateway, session, items, ref, index + 1)));
      }
      subscribeOne(gateway, session, item, start, ref, index);
    } catch (error) {
      refuseItem(gateway, session, item.sub, error, ref, index);
    }
  }
  return undefined;
}

function subscribeOne(
  gateway: Gateway,
  session: Session,
  item: SubscriptionRequest,
  start: Start,
  ref: Ref | undefined,
  index: number,
): void {
  if (session.closed) return;
  const { sub, filters } = item;
  gateway.hub.subscribe(session, sub, filterSet(filters), start, (cursor, live) => {
    session.notice({
      type: 'subscribed',
      ...(ref === undefined ? {} : { ref }),
      at: { index },
      sub,
      filter: filters.length === 1 ? filters[0]! : filters,
      cursor,
      ...(start.recovered === undefined ? {} : { recovered: start.recovered }),
    });
    if (live) session.notice({ type: 'live', sub, cursor });
  });
}

function refuseItem(
  gateway: Gateway,
  session: Session,
  sub: string | undefined,
  thrown: unknown,
  ref: Ref | undefined,
  index: number,
): void {
  if (session.closed) return;
  if (!isTailraceError(thrown)) gateway.o.onFault(thrown);
  const problem = toTailraceError(thrown).placed({ index }).toProblem();
  // `sub` says that this subscription is over; the one that has the label already is not
  const over = sub === undefined || problem.code === 'already_subscribed' ? {} : { sub };
  session.notice({ type: 'error', ...(ref === undefined ? {} : { ref }), ...over, ...problem });
}

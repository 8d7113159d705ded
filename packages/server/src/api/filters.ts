import { checkFilters, type FilterSet, filterSet, type InputLimits, urlFilter } from '@tailrace/protocol';
import type { Parameter } from './route.ts';

/** The `filter` parameter of every route that reads messages. */
export const filterParameter: Parameter = {
  type: 'text',
  many: true,
  required: true,
  description: 'topic filter, repeatable: `+` is one level, `#` (write %23) the rest',
  example: 'news/%23',
};

/** The filters of a query as one set; throws `filter_invalid` and `too_many_filters`. */
export function queryFilters(values: readonly string[], limits: InputLimits): FilterSet {
  return filterSet(checkFilters(values.map(urlFilter), limits));
}

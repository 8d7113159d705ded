import { type FilterSet, isWildcard } from '@tailrace/protocol';

/** Something that wants to know of new records: a cohort, or a reader that waits. */
export interface IndexTarget {
  /** A record it reads was committed at `offset`. Called once or more a batch; must be cheap and idempotent. Hot. */
  mark(offset: number): void;
}

/** Leads from a topic to the targets whose filters match it: exact topics by map, wildcards by a trie of levels. */
export class TopicIndex<T extends IndexTarget> {
  readonly #exact = new Map<string, Set<T>>();
  readonly #root = new TrieNode<T>();
  /** Filters in the index, counted once per target. */
  filterCount = 0;

  /** No target is in it, and nothing that one needed is left. */
  get isEmpty(): boolean {
    return this.#exact.size === 0 && this.#root.isEmpty;
  }

  add(filters: FilterSet, target: T): void {
    for (const filter of filters.filters) {
      this.filterCount++;
      if (isWildcard(filter)) this.#root.add(filter.split('/'), 0, target);
      else {
        const set = this.#exact.get(filter);
        if (set === undefined) this.#exact.set(filter, new Set([target]));
        else set.add(target);
      }
    }
  }

  remove(filters: FilterSet, target: T): void {
    for (const filter of filters.filters) {
      this.filterCount--;
      if (isWildcard(filter)) this.#root.remove(filter.split('/'), 0, target);
      else {
        const set = this.#exact.get(filter);
        if (set?.delete(target) && set.size === 0) this.#exact.delete(filter);
      }
    }
  }

  /** Marks every target that reads `topic`. Hot. */
  mark(topic: string, offset: number): void {
    const exact = this.#exact.get(topic);
    if (exact !== undefined) for (const target of exact) target.mark(offset);
    if (!this.#root.isEmpty) this.#root.visit(topic, 0, topic.charCodeAt(0) === 0x24, offset, null);
  }

  /** The targets that read `topic`, each once. */
  match(topic: string): Set<T> {
    const found = new Set<T>(this.#exact.get(topic));
    this.#root.visit(topic, 0, topic.charCodeAt(0) === 0x24, 0, found);
    return found;
  }

  /** Every target, each once. */
  all(): Set<T> {
    const found = new Set<T>();
    for (const set of this.#exact.values()) for (const target of set) found.add(target);
    this.#root.collect(found);
    return found;
  }
}

class TrieNode<T extends IndexTarget> {
  #children: Map<string, TrieNode<T>> | null = null;
  #plus: TrieNode<T> | null = null;
  /** Targets whose filter ends here, and whose filter ends with `#` below here. */
  #here: Set<T> | null = null;
  #rest: Set<T> | null = null;

  get isEmpty(): boolean {
    return this.#children === null && this.#plus === null && this.#here === null && this.#rest === null;
  }

  add(levels: readonly string[], at: number, target: T): void {
    if (at === levels.length) {
      this.#here ??= new Set();
      this.#here.add(target);
    } else if (levels[at] === '#') {
      this.#rest ??= new Set();
      this.#rest.add(target);
    } else if (levels[at] === '+') {
      this.#plus ??= new TrieNode();
      this.#plus.add(levels, at + 1, target);
    } else {
      this.#children ??= new Map();
      let child = this.#children.get(levels[at]!);
      if (child === undefined) {
        child = new TrieNode();
        this.#children.set(levels[at]!, child);
      }
      child.add(levels, at + 1, target);
    }
  }

  remove(levels: readonly string[], at: number, target: T): void {
    if (at === levels.length) {
      this.#here?.delete(target);
      if (this.#here?.size === 0) this.#here = null;
    } else if (levels[at] === '#') {
      this.#rest?.delete(target);
      if (this.#rest?.size === 0) this.#rest = null;
    } else if (levels[at] === '+') {
      this.#plus?.remove(levels, at + 1, target);
      if (this.#plus?.isEmpty) this.#plus = null;
    } else {
      const child = this.#children?.get(levels[at]!);
      if (child === undefined) return;
      child.remove(levels, at + 1, target);
      if (child.isEmpty) this.#children!.delete(levels[at]!);
      if (this.#children!.size === 0) this.#children = null;
    }
  }

  collect(into: Set<T>): void {
    for (const target of this.#here ?? []) into.add(target);
    for (const target of this.#rest ?? []) into.add(target);
    this.#plus?.collect(into);
    for (const child of this.#children?.values() ?? []) child.collect(into);
  }

  /**
   * Walks the levels of `topic` from character `at`; beyond its end `at` is length + 1. With `into` it collects,
   * without it marks. `reserved` keeps wildcards at the first level away from `$` topics.
   */
  visit(topic: string, at: number, reserved: boolean, offset: number, into: Set<T> | null): void {
    if (this.#rest !== null && !reserved) each(this.#rest, offset, into); // "a/#" matches "a" too
    if (at > topic.length) {
      if (this.#here !== null) each(this.#here, offset, into);
      return;
    }
    if (this.#children === null && this.#plus === null) return;
    const slash = topic.indexOf('/', at);
    const end = slash === -1 ? topic.length : slash;
    this.#children?.get(topic.slice(at, end))?.visit(topic, end + 1, false, offset, into);
    if (!reserved) this.#plus?.visit(topic, end + 1, false, offset, into);
  }
}

function each<T extends IndexTarget>(targets: Set<T>, offset: number, into: Set<T> | null): void {
  if (into === null) for (const target of targets) target.mark(offset);
  else for (const target of targets) into.add(target);
}

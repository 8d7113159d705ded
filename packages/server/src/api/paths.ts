/** Which methods a path takes: what decides between 404 and 405, and answers preflights. */
export class Paths {
  readonly #exact = new Map<string, Set<string>>();
  readonly #patterns: { readonly pattern: RegExp; readonly methods: Set<string> }[] = [];

  /** `path` in OpenAPI's spelling; a `{topic}` at its end may span levels. */
  add(method: string, path: string): void {
    if (!path.includes('{')) {
      methodsInto(this.#exact.get(path) ?? setIn(this.#exact, path), method);
      return;
    }
    const source = path
      .replaceAll(/[.*+?^$()|[\]\\]/g, '\\$&')
      .replace(/\{topic\}$/, '.*')
      .replaceAll(/\{[^}]+\}/g, '[^/]+');
    const pattern = new RegExp(`^${source}$`);
    const known = this.#patterns.find(entry => entry.pattern.source === pattern.source);
    if (known !== undefined) methodsInto(known.methods, method);
    else {
      const methods = new Set<string>();
      methodsInto(methods, method);
      this.#patterns.push({ pattern, methods });
    }
  }

  /** The methods of a path, undefined for one that does not exist. */
  methods(path: string): ReadonlySet<string> | undefined {
    return this.#exact.get(path) ?? this.#patterns.find(({ pattern }) => pattern.test(path))?.methods;
  }
}

function setIn(map: Map<string, Set<string>>, path: string): Set<string> {
  const methods = new Set<string>();
  map.set(path, methods);
  return methods;
}

function methodsInto(methods: Set<string>, method: string): void {
  methods.add(method);
  if (method === 'GET') methods.add('HEAD');
  methods.add('OPTIONS');
}

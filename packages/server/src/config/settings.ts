import { z } from 'zod';
import { type SettingFacts, settingFacts } from './kinds.ts';
import { settingTree } from './schema.ts';

/** One setting with its name in three spellings. */
export interface Setting extends SettingFacts {
  /** `limits.messageHeaders`: the path in tailrace.yaml; `--limits.messageHeaders` as a flag. */
  readonly name: string;
  /** `TAILRACE_LIMITS_MESSAGE_HEADERS`. */
  readonly env: string;
}

/** All settings, in the order of the schema. */
export const settings: readonly Setting[] = Object.freeze([...walk(settingTree, '')]);

export const settingsByName: ReadonlyMap<string, Setting> = new Map(settings.map(setting => [setting.name, setting]));

export function envName(name: string): string {
  return `TAILRACE_${name
    .replaceAll('.', '_')
    .replaceAll(/(?<=[a-z])(?=[A-Z])/g, '_')
    .toUpperCase()}`;
}

function* walk(tree: Readonly<Record<string, z.core.$ZodType>>, prefix: string): Generator<Setting> {
  for (const [key, schema] of Object.entries(tree)) {
    const name = prefix + key;
    const facts = settingFacts.get(schema);
    if (facts !== undefined) {
      yield { name, env: envName(name), ...facts };
      continue;
    }
    const group = schema instanceof z.ZodPrefault ? schema.unwrap() : schema;
    if (!(group instanceof z.ZodObject)) throw new TypeError(`setting ${name} has neither facts nor parts`);
    yield* walk(group.shape, `${name}.`);
  }
}

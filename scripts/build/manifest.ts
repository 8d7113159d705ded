/** Members that npm needs; scripts and development dependencies stay at home. */
const kept = [
  'name',
  'version',
  'description',
  'keywords',
  'license',
  'repository',
  'homepage',
  'type',
  'sideEffects',
  'bin',
  'engines',
  'dependencies',
  'peerDependencies',
  'peerDependenciesMeta',
  'optionalDependencies',
];

/** The package.json of a built package: the same, with `exports` that point to JavaScript and its types. */
export function publishedManifest(source: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const manifest: Record<string, unknown> = {};
  for (const member of kept) if (member in source) manifest[member] = source[member];
  manifest.exports = Object.fromEntries(
    Object.entries(source.exports as Readonly<Record<string, string>>).map(([path, target]) => [
      path,
      builtExport(target),
    ]),
  );
  manifest.files = ['dist', ...('bin' in source ? ['bin', 'pages'] : [])];
  manifest.publishConfig = { access: 'public' };
  return manifest;
}

function builtExport(target: string): string | { types: string; default: string } {
  const match = /^\.\/src\/(.*)\.tsx?$/.exec(target);
  if (match === null) return target;
  return { types: `./dist/${match[1]}.d.ts`, default: `./dist/${match[1]}.js` };
}

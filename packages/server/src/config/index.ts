export type { Config, ConfigInput, KeepRule, LagRule, Limits, LogLevel, TopicRule } from './config.ts';
export { type ConfigSources, type Flags, type LoadedConfig, loadConfig } from './load.ts';
export { ConfigError, type ConfigProblem, describeProblem } from './problem.ts';
export { createConfig, defaultConfig, type ReadConfig, readConfig } from './read.ts';
export { type Setting, settings, settingsByName } from './settings.ts';
export { formatDuration, formatSize, parseDuration, parseSize } from './units.ts';

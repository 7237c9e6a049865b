#!/usr/bin/env node
/** The process around the command line: the only place that reads the environment and ends the process. */
import './heap.ts';
import type { CliIo } from './cli-io.ts';
import { runCli } from './run-cli.ts';

const io: CliIo = {
  // biome-ignore lint/style/noProcessEnv: the one place; everybody else is given what they need
  env: process.env,
  stdout: process.stdout,
  stderr: process.stderr,
  onSignal(listener) {
    process.on('SIGINT', listener);
    process.on('SIGTERM', listener);
    return () => {
      process.off('SIGINT', listener);
      process.off('SIGTERM', listener);
    };
  },
  onReload(listener) {
    process.on('SIGHUP', listener);
    return () => process.off('SIGHUP', listener);
  },
  exit: (exitCode) => process.exit(exitCode),
};

// Whoever read our output may be gone before us (`shoal agent | head -1`); that ends no agent.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);

process.exit(await runCli(process.argv.slice(2), io));

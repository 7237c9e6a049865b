// Loaded into the measured process with `--import`: SIGUSR2 collects all garbage, so that what stays in memory shows.
process.on('SIGUSR2', () => globalThis.gc?.());

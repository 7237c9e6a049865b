import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { Containerd } from '../support/daemon/containerd.ts';
import { criPullImage, criRemoveImage } from '../support/daemon/cri.ts';
import { Dockerd } from '../support/daemon/dockerd.ts';
import { Podman } from '../support/daemon/podman.ts';
import { runShoalWith } from '../support/run-shoal.ts';
import { Stage, type StageOptions } from './stage.ts';
import { describeSuite } from './suite.ts';

const namespace = 'k8s.io';

/** Every file below some folders, with its bytes. */
async function filesIn(...folders: string[]): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const folder of folders) {
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])) {
      const path = join(entry.parentPath, entry.name);
      found.set(path, entry.isFile() ? await readFile(path, 'base64') : '');
    }
  }
  return found;
}

/** `shoal setup RUNTIME` against a real runtime with files of its own, and an agent of its own. */
class SetUp {
  readonly stage: Stage;
  readonly #args: readonly string[];
  readonly #env: Readonly<Record<string, string>>;

  constructor(stage: Stage, runtime: string, files: { configFile: string; registriesDir: string }, env = {}) {
    this.stage = stage;
    this.#env = env;
    const { configFile, registriesDir } = files;
    const paths = ['--config-file', configFile, '--registries-dir', registriesDir];
    const journal = join(dirname(configFile), 'setup-journal');
    const admin = new URL(stage.agent.adminUrl).host;
    this.#args = [
      'setup',
      runtime,
      ...paths,
      '--journal',
      journal,
      '--mirror',
      stage.agent.mirrorUrl,
      '--admin',
      admin,
    ];
  }

  async run(...flags: string[]): Promise<string> {
    const { code, stdout, stderr } = await runShoalWith(this.#env, ...this.#args, ...flags);
    expect([code, stderr]).toEqual([0, '']);
    return stdout;
  }
}

describeSuite('containerd-cri', 'shoal setup containerd', () => {
  const resources = new AsyncDisposableStack();
  let stage: Stage;
  let containerd: Containerd;
  let setUp: SetUp;

  beforeAll(async () => {
    stage = resources.use(await Stage.set({ seed: 'setup-containerd', repository: 'org/img' }));
    containerd = resources.use(await Containerd.start({ configPath: false }));
    const files = { configFile: containerd.configFile, registriesDir: containerd.certsDir };
    setUp = new SetUp(stage, 'containerd', files, { CONTAINERD_ADDRESS: containerd.socket });
  });
  afterAll(() => resources.disposeAsync());
  beforeEach(() => stage.startCount());

  const pull = async () => {
    expect(await criPullImage(containerd.socket, stage.reference)).toBe(stage.image.config.digest);
    await criRemoveImage(containerd.socket, stage.reference);
    await containerd.collectGarbage(namespace);
  };
  const state = async () => [await readFile(containerd.configFile, 'base64'), await filesIn(containerd.certsDir)];

  test('14: configures, is proven by a pull through the agent, and undone byte for byte', async () => {
    const before = await state();
    expect(await setUp.run('--dry-run')).toContain('+  config_path = ');
    expect(await state()).toEqual(before);

    await pull();
    await stage.expectReadDirectly();

    await stage.startCount();
    expect(await setUp.run()).toContain('Now: systemctl restart containerd');
    await containerd.restart();
    await pull();
    await stage.expectReadOnceByAgents();

    await stage.startCount();
    expect(await setUp.run('--image', stage.reference)).toMatch(/Proven: ctr images pull .* went through the agent/);
    await containerd.remove(stage.reference);

    expect(await setUp.run('--undo')).toContain(`restored  ${containerd.configFile}`);
    expect(await state()).toEqual(before);
    await containerd.restart();
    await stage.startCount();
    await pull();
    await stage.expectReadDirectly();
  });

  test('15: with the mirror configured and the agent dead, the image comes from the registry', async () => {
    await setUp.run();
    await containerd.restart();
    await stage.agent.kill();
    await pull();
    await stage.expectReadDirectly();
  });
});

describeSuite('dockerd', 'shoal setup docker', () => {
  const resources = new AsyncDisposableStack();
  let stage: Stage;
  let dockerd: Dockerd;

  beforeAll(async () => {
    const options: StageOptions = {
      seed: 'setup-docker',
      registryName: 'docker.io',
      repository: 'library/shoal-setup',
    };
    stage = resources.use(await Stage.set(options));
    // What is tried after the last mirror is the real Docker Hub: the registry itself stands in for it.
    dockerd = resources.use(await Dockerd.start({ config: { 'registry-mirrors': [stage.registry.url] } }));
  });
  afterAll(() => resources.disposeAsync());

  test('configures, is proven by a pull through the agent, and undone byte for byte', async () => {
    const image = `shoal-setup:${stage.image.tag}`;
    const files = { configFile: dockerd.configFile, registriesDir: dockerd.certsDir };
    const setUp = new SetUp(stage, 'docker', files, dockerd.clientEnvironment);
    const state = async () => [await readFile(dockerd.configFile, 'base64'), await filesIn(dockerd.certsDir)];
    const before = await state();
    expect(await setUp.run()).toContain('Now: systemctl reload docker');
    await dockerd.reload();
    await stage.startCount();
    expect(await setUp.run('--image', image)).toContain(`Proven: docker pull ${image} went through the agent`);
    await stage.expectReadOnceByAgents();
    await dockerd.remove(image);

    await setUp.run('--undo');
    expect(await state()).toEqual(before);
    await dockerd.reload();
    await stage.startCount();
    await dockerd.pull(image);
    await stage.expectReadDirectly();
  });
});

describeSuite('podman', 'shoal setup podman', () => {
  const resources = new AsyncDisposableStack();
  let stage: Stage;
  let podman: Podman;

  beforeAll(async () => {
    const options: StageOptions = { seed: 'setup-podman', registryName: 'registry.example', repository: 'org/img' };
    stage = resources.use(await Stage.set(options));
    podman = resources.use(await Podman.start([]));
  });
  afterAll(() => resources.disposeAsync());

  test('configures, pulls through the agent, and is undone byte for byte', async () => {
    const setUp = new SetUp(stage, 'podman', { configFile: podman.configFile, registriesDir: podman.dropIns });
    const state = () => filesIn(join(podman.dropIns, '..', '..', '..'));
    const before = await state();
    await setUp.run('--no-probe', '--registry', 'registry.example');
    await stage.startCount();
    await podman.pull(stage.reference);
    await stage.expectReadOnceByAgents();
    await podman.remove(stage.reference);

    await setUp.run('--undo');
    const isConfiguration = ([path]: [string, string]) => path.includes('.conf');
    expect([...(await state())].filter(isConfiguration)).toEqual([...before].filter(isConfiguration));
  });
});

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connect, startAgent, type TestAgent, TestCluster, until } from '../cluster.fixture.ts';
import { commonVersion, PROTOCOL_VERSIONS, versionsIn } from './versions.ts';

describe('agents that speak several versions', () => {
  let cluster: TestCluster;
  let agents: TestAgent[];
  beforeEach(() => {
    cluster = new TestCluster();
    agents = [];
  });
  afterEach(() => Promise.all(agents.map(({ network }) => network.stop())));

  async function speaking(...versions: string[]): Promise<TestAgent> {
    const agent = await startAgent(cluster, { versions });
    agents.push(agent);
    return agent;
  }

  it('connect when there is one that both do, whoever dials', async () => {
    const newer = await speaking('shoal/9', 'shoal/8');
    const older = await speaking('shoal/8', 'shoal/7');
    await connect(newer, older);
    const oldest = await speaking('shoal/7');
    await connect(oldest, older);
    expect(newer.network.strangers()).toEqual([]);
  });

  it('part when there is none, and each knows what the other speaks', async () => {
    const newer = await speaking('shoal/9', 'shoal/8');
    const older = await speaking('shoal/7');
    older.network.dial([newer.record]);
    await until(() => older.network.strangers().length > 0 && newer.network.strangers().length > 0);
    // Who was dialled heard it before the other one could prove who it is.
    expect(newer.network.strangers()).toEqual([{ peerId: undefined, host: '127.0.0.1', versions: ['shoal/7'] }]);
    const { peerId } = newer.record;
    expect(older.network.strangers()).toEqual([{ peerId, host: '127.0.0.1', versions: ['shoal/9', 'shoal/8'] }]);
    expect(older.network.connected()).toEqual([]);
  });
});

it('the newest that both speak is chosen', () => {
  expect(commonVersion(['shoal/9', 'shoal/8', 'shoal/7'], ['shoal/7', 'shoal/8'])).toBe('shoal/8');
  expect(commonVersion(['shoal/9'], ['shoal/8'])).toBeUndefined();
});

it('what is listed here are versions, newest first; of what others list only those count', () => {
  expect(versionsIn(PROTOCOL_VERSIONS)).toEqual(PROTOCOL_VERSIONS);
  const numbers = PROTOCOL_VERSIONS.map((version) => Number(version.split('/')[1]));
  expect(numbers).toEqual(numbers.toSorted((one, other) => other - one));
  expect(versionsIn(['h2', 'shoal/12', 'shoal/x', `shoal/${'1'.repeat(200)}`, ''])).toEqual(['shoal/12']);
});

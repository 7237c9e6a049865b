import { expect, test } from 'vitest';
import { ociErrorBody } from './oci-error.ts';

test('writes the body the specification asks for', () => {
  expect(JSON.parse(ociErrorBody('BLOB_UNKNOWN', 'nobody has it'))).toEqual({
    errors: [{ code: 'BLOB_UNKNOWN', message: 'nobody has it' }],
  });
});

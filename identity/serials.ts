import { ShoalError } from '../protocol/errors.js';
import { LIMITS } from '../protocol/limits.js';

/** As Node writes a certificate's serial: hex, at most 20 bytes (RFC 5280, section 4.1.2.2). */
export const SERIAL_PATTERN = '^[0-9A-F]{1,40}$';

const SERIAL = new RegExp(SERIAL_PATTERN);

/** A list of serials that somebody else has said. Throws SHOAL_E_FRAME for what is none. */
export function parseSerials(value: unknown): string[] {
  const isOne = (each: unknown) => typeof each === 'string' && SERIAL.test(each);
  if (Array.isArray(value) && value.length <= LIMITS.revokedMax && value.every(isOne)) return value as string[];
  throw new ShoalError('SHOAL_E_FRAME', `a list of revoked certificates has at most ${LIMITS.revokedMax} serials`);
}

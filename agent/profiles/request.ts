import { ShoalError } from '../../protocol/errors.js';
import { LIMITS } from '../../protocol/limits.js';
import { NAME_PATTERN } from '../../protocol/manifest-schema.js';
import { PROFILE_KINDS, type ProfileRequest } from '../../protocol/profile.js';

const NAME = new RegExp(NAME_PATTERN);

/** What the coordinator asks for, checked: its names become names of folders. Throws SHOAL_E_FRAME. */
export function parseProfileRequest(message: { request?: unknown; of?: unknown }): ProfileRequest {
  const { request } = message;
  const { app, component, kind, fromMs, toMs } = (message.of ?? {}) as Record<string, unknown>;
  const known = PROFILE_KINDS.find((each) => each === kind);
  if (!Number.isSafeInteger(request) || !isName(app) || !isName(component) || known === undefined)
    throw new ShoalError('SHOAL_E_FRAME', 'the coordinator asks for a profile of nothing');
  if (!isTime(fromMs) || !isTime(toMs) || fromMs > toMs)
    throw new ShoalError('SHOAL_E_FRAME', 'the coordinator asks for a profile of no span of time');
  return { app, component, kind: known, fromMs, toMs };
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value.length <= LIMITS.nameLengthMax && NAME.test(value);
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && Number.isFinite(value);
}

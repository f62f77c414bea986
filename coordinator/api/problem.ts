import type { FastifyError, FastifyReply } from 'fastify';
import { ERRORS, ShoalError, toShoalError } from '../../protocol/errors.js';
import type { Problem } from '../../protocol/http.js';
import { LIMITS } from '../../protocol/limits.js';
import type { ManifestError } from '../../protocol/manifest-parse.js';

/** A manifest that was refused, with every place that is wrong. */
export class ManifestRefused extends ShoalError {
  constructor(readonly errors: readonly ManifestError[]) {
    const [first] = errors;
    const where = first === undefined ? '' : `: ${first.path}: ${first.message}`;
    super('SHOAL_E_MANIFEST', `${errors.length === 1 ? 'one place is' : `${errors.length} places are`} wrong${where}`);
  }
}

/** Problem details by RFC 9457. */
export function problemOf(error: unknown): Problem {
  const known = classify(error);
  const { status, title } = ERRORS[known.code];
  const problem: Problem = {
    type: `urn:shoal:error:${known.code}`,
    title,
    status,
    code: known.code,
    detail: known.message,
  };
  if (known instanceof ManifestRefused) {
    problem.errors = known.errors.map(({ path, line, column, message }) => ({ path, line, column, message }));
  }
  return problem;
}

export async function sendProblem(reply: FastifyReply, error: unknown): Promise<void> {
  const problem = problemOf(error);
  await reply.code(problem.status).type('application/problem+json').send(JSON.stringify(problem));
}

/** What the web framework throws on a bad request, in our words. */
function classify(error: unknown): ShoalError {
  if (error instanceof ShoalError) return error;
  const { code, validation, validationContext, statusCode, message } = error as Partial<FastifyError>;
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return new ShoalError('SHOAL_E_BODY_TOO_LARGE', `at most ${LIMITS.httpBodyBytesMax} bytes are taken`);
  }
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    const remedy = 'send application/json or, for a manifest, application/yaml';
    return new ShoalError('SHOAL_E_BODY', `this content type is not taken: ${remedy}`);
  }
  if (validation !== undefined) return refusalOf(validation, validationContext, message);
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new ShoalError('SHOAL_E_BODY', message ?? 'the request is not valid');
  }
  return toShoalError(error);
}

/** What the parts of an address must look like. */
const NAME =
  'a name of lower-case letters, digits and hyphens that starts with a letter and does not end with a hyphen';
const IN_ADDRESS: Record<string, string> = {
  app: `${NAME}, at most ${LIMITS.nameLengthMax} long`,
  component: `${NAME}, at most ${LIMITS.nameLengthMax} long`,
  id: 'the id of an instance, such as search-web-3',
};

function refusalOf(
  [first]: NonNullable<FastifyError['validation']>,
  context: string | undefined,
  message = 'the request is not valid',
): ShoalError {
  const part = first?.instancePath.slice(1) ?? '';
  const form = Object.hasOwn(IN_ADDRESS, part) ? IN_ADDRESS[part] : undefined;
  if (context === 'params' && form !== undefined) {
    return new ShoalError('SHOAL_E_NAME', `${part} in the address must be ${form}`);
  }
  const unknown = first?.params.additionalProperty;
  if (unknown === undefined) return new ShoalError('SHOAL_E_USAGE', message);
  return new ShoalError('SHOAL_E_USAGE', `${context ?? 'request'} has the unknown key ${JSON.stringify(unknown)}`);
}

import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { ERRORS, type ErrorCode, ShoalError, toShoalError } from '../../protocol/errors.js';
import type { Problem } from '../../protocol/http.js';
import { LIMITS } from '../../protocol/limits.js';

export const PROBLEM_TYPE = 'application/problem+json; charset=utf-8';

/** An error that carries more for the client than code and detail. */
export class ProblemError extends ShoalError {
  constructor(
    code: ErrorCode,
    detail: string,
    readonly more: { status?: number; errors?: Problem['errors']; headers?: Record<string, string> } = {},
  ) {
    super(code, detail);
  }
  override get status(): number {
    return this.more.status ?? ERRORS[this.code].status;
  }
}

export function problemOf(error: ShoalError): Problem {
  const { title } = ERRORS[error.code];
  const type = `urn:shoal:error:${error.code}`;
  const problem: Problem = { type, title, status: error.status, code: error.code, detail: error.message };
  if (error instanceof ProblemError && error.more.errors !== undefined) problem.errors = error.more.errors;
  return problem;
}

export function sendProblem(reply: FastifyReply, error: ShoalError): FastifyReply {
  if (error instanceof ProblemError) reply.headers(error.more.headers ?? {});
  return reply.code(error.status).type(PROBLEM_TYPE).send(problemOf(error));
}

/** Answers every error in one form. Details of unexpected ones go to the log, not to the client. */
export function handleError(error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const known = translate(error);
  if (known.status < 500) return sendProblem(reply, known);
  request.log.error({ err: error, code: known.code, url: request.url }, 'request failed');
  if (known.code !== 'SHOAL_E_INTERNAL') return sendProblem(reply, known);
  return sendProblem(reply, new ShoalError('SHOAL_E_INTERNAL', 'see the log of the coordinator'));
}

/** An error of Fastify itself as one of Shoal. */
function translate(error: FastifyError): ShoalError {
  if (error instanceof ShoalError) return error;
  if (error.validation !== undefined) return refusal(error);
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new ShoalError('SHOAL_E_BODY_TOO_LARGE', `a body may have at most ${LIMITS.httpBodyBytesMax} bytes`);
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new ProblemError('SHOAL_E_BODY', `${error.message}; manifests are text/yaml or application/json`, {
        status: 415,
      });
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return new ShoalError('SHOAL_E_BODY', 'the body is empty, expected JSON');
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new ShoalError('SHOAL_E_BODY', error.message);
    case 'FST_ERR_BAD_URL':
      return new ShoalError('SHOAL_E_NAME', 'the URL is not valid percent-encoded UTF-8');
    default:
      return (error.statusCode ?? 500) < 500 ? new ShoalError('SHOAL_E_USAGE', error.message) : toShoalError(error);
  }
}

const CODE_OF_PART: Record<string, ErrorCode> = {
  params: 'SHOAL_E_NAME',
  querystring: 'SHOAL_E_USAGE',
  headers: 'SHOAL_E_USAGE',
  body: 'SHOAL_E_BODY',
};

/** What a schema refused. */
function refusal(error: FastifyError): ProblemError {
  const part = error.validationContext ?? 'body';
  const errors = (error.validation ?? []).map(({ instancePath, message, params }) => {
    const { additionalProperty } = params as { additionalProperty?: unknown };
    const extra = typeof additionalProperty === 'string' ? ` (${additionalProperty})` : '';
    return { path: `${part}${instancePath}`, message: `${message ?? 'is not valid'}${extra}` };
  });
  const detail = errors.map(({ path, message }) => `${path} ${message}`).join('; ');
  return new ProblemError(CODE_OF_PART[part] ?? 'SHOAL_E_USAGE', detail, { errors });
}

/** Answers what is not even HTTP. */
export function handleClientError(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const status = error.code === 'HPE_HEADER_OVERFLOW' ? 431 : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400;
  const detail = `the request is not valid HTTP/1.1: ${error.message}`;
  const body = JSON.stringify(problemOf(new ProblemError('SHOAL_E_USAGE', detail, { status })));
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: ${PROBLEM_TYPE}\r\n`;
  socket.end(`${head}Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`);
}

/* A component in C: answers `greet` with what it was sent, which is any msgpack value. */
#include <stdio.h>

#include "shoal.h"

static void greet(void *context, shoal_request *request) {
  (void)context;
  size_t length = 0;
  const void *body = shoal_body(request, &length);
  shoal_reply(request, body, length);
}

int main(void) {
  char why[SHOAL_WHY_BYTES];
  shoal_app *app = shoal_connect(why);
  if (app == NULL) {
    fprintf(stderr, "%s\n", why);
    return 1;
  }
  shoal_handle(app, "greet", greet, NULL);
  if (shoal_ready(app) != 0) {
    perror("shoal_ready");
    return 1;
  }
  const int code = shoal_run(app);
  shoal_close(app);
  return code;
}

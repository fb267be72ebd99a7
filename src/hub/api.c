/* SPDX-License-Identifier: Apache-2.0 */

#include "hub/api.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api-routes.h" /* generated: api_routes[], api_document[] */
#include "base/error.h"

int api_table(HttpRoute **routesp, size_t *np) {
    const size_t n = sizeof(api_routes) / sizeof(*api_routes);
    HttpRoute *routes = calloc(n + 1, sizeof(*routes));
    if (!routes)
        return error_origin(-ENOMEM);
    memcpy(routes, api_routes, sizeof(api_routes));
    routes[n] = api_metrics_route;
    *routesp = routes;
    *np = n + 1;
    return 0;
}

int api_get_openapi(HttpRequest *request, HttpResponse *response, void *context) {
    (void)request;
    (void)context;
    for (size_t i = 0; api_document[i]; i++)
        buffer_put_text(&response->body, api_document[i]);
    return 0;
}

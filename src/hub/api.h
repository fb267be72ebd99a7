#pragma once
/* SPDX-License-Identifier: Apache-2.0 */

/*
 * API
 *
 * The handlers of spec/openapi.json are named after its operations (getFlows: api_get_flows); the
 * route table is generated from it. Their context is the Hub. Those of sessions are in auth.h.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/identity.h"
#include "http/message.h"
#include "http/router.h"

typedef struct Buffer Buffer;
typedef struct FlowBatch FlowBatch;
typedef struct Hub Hub;
typedef struct Json Json;
typedef struct Probe Probe;
typedef struct Reason Reason;
typedef struct StoreResult StoreResult;
typedef struct QueryPlan QueryPlan;

HttpHandler api_get_health, api_get_status, api_get_fields, api_get_openapi;
HttpHandler api_get_interfaces, api_get_interface, api_get_sample_config, api_get_probes;
HttpHandler api_get_flows, api_get_top, api_get_timeseries, api_get_gaps;
HttpHandler api_get_live, api_get_live_events;
HttpHandler api_get_admission, api_put_admission;
HttpHandler api_edit_probe, api_approve_probe, api_take_over_probe, api_revoke_probe;
HttpHandler api_restore_probe, api_forget_probe;
HttpHandler api_get_configuration, api_put_configuration;
HttpHandler api_get_probe_configuration, api_put_probe_configuration;
HttpHandler api_get_server_key, api_make_next_server_key, api_drop_next_server_key;
HttpHandler api_finish_server_key;
HttpHandler api_get_licence, api_install_licence, api_pin_probe;
HttpHandler api_get_exporters, api_get_exporter, api_get_interface_counters;
HttpHandler api_get_tokens, api_make_token, api_remove_token;

/** api_table() - the generated rows and /metrics; the caller's to free() */
int api_table(HttpRoute **routesp, size_t *np);

/* arrays and objects of more than one answer */
void api_write_probes(Json *json, const char *name, Hub *hub, uint64_t now_ms);
/** api_write_probe() - the one of this key; false: there is none */
bool api_write_probe(Json *json, Hub *hub, const PeerKey *key, uint64_t now_ms);
/** api_write_configuration() - where that of a probe (locked) stands */
void api_write_configuration(Json *json, const char *name, Hub *hub, const Probe *probe);
void api_write_interface_members(Json *json, Hub *hub, unsigned interface, uint64_t now_ms);

/** api_write_names() - what exporters call the interfaces and VRFs of these flows; 0 or -ENOMEM */
int api_write_names(Json *json, const char *member, Hub *hub, const FlowBatch *flows);
/** api_write_exporter_metrics() - of each exporter, as OpenMetrics text */
void api_write_exporter_metrics(Hub *hub, Buffer *to);

/** api_range() - from and to of a request; HTTP_E_ANSWERED: 400 */
int api_range(const HttpRequest *request, HttpResponse *response, QueryPlan *plan);

/** api_query() - ask the store; HTTP_E_ANSWERED: the refusal in words */
int api_query(Hub *hub, HttpResponse *response, const QueryPlan *plan, StoreResult **resultp);

/** api_refuse() - 400 invalid_parameter, naming the parameter */
int api_refuse(HttpResponse *response, const char *field, const Reason *reason);

/* beside the generated rows: /metrics */
extern const HttpRoute api_metrics_route;

/* SPDX-License-Identifier: Apache-2.0 */
/* Shared access signatures of Azure Service Bus, and the connection strings that hold their keys.
 * Source: Microsoft Learn, "Service Bus access control with Shared Access Signatures". */
#ifndef SONDE_AGENT_COLLECT_SERVICEBUS_SAS_H
#define SONDE_AGENT_COLLECT_SERVICEBUS_SAS_H

#include <stddef.h>
#include <stdint.h>

#define SONDE__SERVICEBUS_TOKEN_MAX 2048u

/** What a connection string says; "" = not there. Keys are used as they are written: their base64 is not decoded. */
struct sonde__servicebus_place {
    char host[256];
    char key_name[256], key[256];
    char signature[SONDE__SERVICEBUS_TOKEN_MAX]; /* a token that is made already */
};

/** "Endpoint=sb://NAME.servicebus.windows.net/;SharedAccessKeyName=...;SharedAccessKey=..." Words that are not known are
 *  passed over. Returns 0, SONDE_EINVALID. */
int sonde__servicebus_place_read(const char *text, struct sonde__servicebus_place *ret_place);

/** Writes "SharedAccessSignature sr=...&sig=...&se=...&skn=...": who has it may ask resource until then.
 *  resource: an URL. Returns 0, SONDE_ETOOBIG. */
int sonde__servicebus_sign(const char *resource, const char *key_name, const char *key, uint64_t until_unix_s,
                           char *ret_token, size_t size);

/** HMAC-SHA256 (RFC 2104). */
void sonde__servicebus_hmac(const void *key, size_t key_size, const void *data, size_t size, uint8_t ret_mac[32]);

#endif

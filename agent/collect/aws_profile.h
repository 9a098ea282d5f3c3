/* SPDX-License-Identifier: Apache-2.0 */
/* The files that AWS's tools share: ~/.aws/credentials and ~/.aws/config. Sections in brackets, "key = value"; lines that
 * are indented belong to a value of another kind and are passed over, as are comments.
 * Source: AWS SDKs and Tools Reference Guide, "Shared config and credentials files". */
#ifndef SONDE_AGENT_COLLECT_AWS_PROFILE_H
#define SONDE_AGENT_COLLECT_AWS_PROFILE_H

#include <stdbool.h>
#include <stddef.h>

/* Keys of some use here; "" = not there. */
struct sonde__aws_profile {
    char access_key_id[128], secret_access_key[256], session_token[8192];
    char region[64], role_arn[512], web_identity_token_file[1024];
    bool found;
    bool elsewhere; /* keys come in a way that is not spoken here: sso, credential_process, source_profile, ... */
};

/** Adds what a file says of a profile to what is known; what is known already stays: read `credentials` first.
 *  text: borrowed. is_config: sections but "default" are called "profile NAME". Values that are too long are as good as
 *  absent. */
void sonde__aws_profile_add(struct sonde__aws_profile *profile, const char *text, size_t size, const char *name,
                            bool is_config);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* load URL RATE SECONDS [FILE]: posts orders at RATE a second for SECONDS (0 = until SIGTERM) and prints how they were
 * answered. The ids of the accepted ones (201) go to FILE, one a line. Not instrumented: it plays the outside world. */
#include "shop.h"
#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define WORKERS 4

static const char *url;
static double rate, seconds, begin;
static atomic_uint next_order, accepted, refused, failed;
static atomic_bool stopping;
static FILE *ids;

static size_t discard(char *data, size_t size, size_t count, void *user) {
    (void)data, (void)user;
    return size * count;
}

static void post(CURL *curl, const struct curl_slist *headers, unsigned number) {
    char id[32], json[96];
    long status = 0;
    (void)snprintf(id, sizeof id, "%d-%u", (int)getpid(), number);
    (void)snprintf(json, sizeof json, "{\"order\":\"%s\",\"amount\":%u.50}", id, 1 + number % 90);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, json);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, discard);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 10000L);
    if (curl_easy_perform(curl) != CURLE_OK || curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK)
        atomic_fetch_add(&failed, 1);
    else if (status != 201)
        atomic_fetch_add(&refused, 1);
    else {
        atomic_fetch_add(&accepted, 1);
        if (ids)
            (void)fprintf(ids, "%s\n", id);
    }
}

/* Order n is due n / rate seconds after the begin; whoever is free takes the next. */
static void *worker(void *user) {
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    (void)user;
    while (curl && headers) {
        unsigned number = atomic_fetch_add(&next_order, 1);
        double due = begin + number / rate;
        struct timespec at = {(time_t)due, (long)((due - (double)(time_t)due) * 1e9)};
        if (seconds > 0 && due >= begin + seconds)
            break;
        (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        if (atomic_load(&stopping))
            break;
        post(curl, headers, number);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return NULL;
}

int main(int argc, char **argv) {
    rate = argc > 2 ? strtod(argv[2], NULL) : 0;
    seconds = argc > 3 ? strtod(argv[3], NULL) : -1;
    if (rate <= 0 || seconds < 0) {
        (void)fprintf(stderr, "usage: %s URL RATE SECONDS [FILE]\n", argv[0]);
        return 2;
    }
    url = argv[1];
    if (argc > 4 && !(ids = fopen(argv[4], "w"))) {
        perror(argv[4]);
        return EXIT_FAILURE;
    }
    shop_stop_prepare();
    curl_global_init(CURL_GLOBAL_ALL);
    begin = shop_seconds();
    pthread_t threads[WORKERS];
    int count = 0;
    while (count < WORKERS && pthread_create(&threads[count], NULL, worker, NULL) == 0)
        count++;
    while (!atomic_load(&stopping) && (seconds == 0 || shop_seconds() < begin + seconds))
        if (shop_stop_requested(100))
            atomic_store(&stopping, true);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    curl_global_cleanup();
    if (ids && fclose(ids) != 0) {
        perror(argv[4]);
        return EXIT_FAILURE;
    }
    printf("accepted %u refused %u failed %u\n", atomic_load(&accepted), atomic_load(&refused), atomic_load(&failed));
    return EXIT_SUCCESS;
}

/* JSON: commas where they belong, and nothing that a client says leaves its quotes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "proxy/admin/json.h"

/* What was written, with a NUL. */
static const char *written(struct json *json)
{
    static char text[16384];
    size_t length = evbuffer_get_length(json->out);
    json_finish(json);
    assert_false(json->failed);
    assert_in_range(length, 1, sizeof text - 3);
    length = evbuffer_get_length(json->out);
    assert_int_equal(evbuffer_remove(json->out, text, length), (int)length);
    text[length] = '\0';
    evbuffer_free(json->out);
    return text;
}

static struct json start(void)
{
    struct json json;
    json_start(&json, evbuffer_new());
    return json;
}

static void test_commas_stand_between_values_only(void **state)
{
    struct json json = start();
    (void)state;
    json_list(&json, "empty");
    json_list_end(&json);
    json_list(&json, "list");
    json_object(&json, NULL);
    json_object_end(&json);
    json_object(&json, NULL);
    json_number(&json, "a", UINT64_MAX);
    json_signed(&json, "b", -1);
    json_object_end(&json);
    json_flag(&json, NULL, false);
    json_list_end(&json);
    json_text(&json, "none", NULL);
    json_flag(&json, "yes", true);
    assert_string_equal(written(&json),
                        "{\"empty\":[],\"list\":[{},{\"a\":18446744073709551615,"
                        "\"b\":-1},false],\"none\":null,\"yes\":true}\n");
}

static void test_an_object_may_be_empty(void **state)
{
    struct json json = start();
    (void)state;
    assert_string_equal(written(&json), "{}\n");
}

static void test_hostile_text_stays_in_its_quotes(void **state)
{
    struct json json = start();
    (void)state;
    static const char hostile[] = "\",\"admin\":\"\\\r\n\0\x1b\xff</script>";
    json_bytes(&json, "k\"", hostile, sizeof hostile - 1);
    const char *text = written(&json);
    assert_string_equal(text,
                        "{\"k\\\"\":\"\\\",\\\"admin\\\":\\\"\\\\\\r\\n\\u0000\\u001b\\u00ff"
                        "</script>\"}\n");
}

static void test_a_long_text_is_whole(void **state)
{
    char text[3000], *expected;
    struct json json = start();
    (void)state;
    memset(text, '\n', sizeof text);
    json_bytes(&json, "k", text, sizeof text);
    const char *out = written(&json);
    assert_int_equal(strlen(out), 2 * sizeof text + strlen("{\"k\":\"\"}\n"));
    expected = strstr(out, "n\"}\n");
    assert_ptr_equal(expected, out + strlen(out) - 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commas_stand_between_values_only),
        cmocka_unit_test(test_an_object_may_be_empty),
        cmocka_unit_test(test_hostile_text_stays_in_its_quotes),
        cmocka_unit_test(test_a_long_text_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

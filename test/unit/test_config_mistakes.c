/* Mistakes that people make in the configuration file: to the letter, what each is answered
 * with. */
#include "config_file.h"

#define E(text) "postern: error: f:" text "\n"

#define LISTEN "listen \"a\" { address = \"*:1465\" }\n"

static const struct {
    const char *text, *error;
} mistakes[] = {
    {"certificate = \"/c.pem\"\nkey = \"/k.pem\"\n",
     E("1:1: certificate: belongs in section tls or certificate")
         E("2:1: key: belongs in section tls or certificate")
             E(" tls: certificate: must be given") E(" tls: key: must be given")},
    {"\xef\xbb\xbf" TLS,
     E("1:1: the file begins with a byte order mark (BOM): save it without one")},
    {"\xff\xfet\0l\0s\0",
     E("1:1: the file is in UTF-16: save it in UTF-8") E(" tls: certificate: must be given")
         E(" tls: key: must be given")},
    {TLS "hostname = \"a.example\";\nworkers = 2;\n",
     E("2:23: no \";\" comes after a value: leave it out")
         E("3:12: no \";\" comes after a value: leave it out")},
    {TLS "workers = 2 ; user = \"x\"\n", E("2:13: no \";\" comes after a value: leave it out")},
    {TLS "hostname = \xe2\x80\x9cmail.example.org\xe2\x80\x9d\n",
     E("2:12: hostname: a typographic quote is none here: write \" or '")},
    {TLS "hostname\xc2\xa0= \"a.example\"\n",
     E("2:9: a no-break space stands here: write a plain one")},
    {TLS "hostname = m\xc3\xbcller.example\n",
     E("2:13: hostname: a character that is not ASCII stands outside of quotes")},
    {TLS "user = \"m\xc3\xbcller\" workers = four\n",
     E("2:27: workers: \"four\" is not a whole number")},
    {TLS "user = \"Ren\xc3\xa9\" workers = four\n",
     E("2:25: workers: \"four\" is not a whole number")},
    {TLS "workers = 0// none\n", E("2:11: workers: 0 is not from 1 to 256")},
    {TLS "= {\n a = 1\n}\nworkers = 0\n",
     E("2:1: there is no key before \"=\"") E("5:11: workers: 0 is not from 1 to 256")},
    {TLS "workers = -3\n", E("2:11: workers: -3 is not from 1 to 256")},
    {TLS "workers = -three\n", E("2:11: workers: \"-three\" is not a whole number")},
    {TLS "workers = 3.0\n", E("2:11: workers: \"3.0\" is not a whole number")},
    {TLS "workers = 2K\n", E("2:11: workers: \"2K\" is not a whole number")},
    {TLS "timeouts { idle = -5 }\n",
     E("2:19: timeouts: idle: -5 is not from 1 to 86400 seconds")},
    {TLS "timeouts { idle = 10min }\n",
     E("2:19: timeouts: idle: \"10min\" is no time: write seconds, or 30s, 5m, 2h, 1d")},
    {TLS "timeouts { idle = 10 m }\n", E("2:22: timeouts: idle: there is more after the value: "
                                         "one with spaces stands in quotes")},
    {TLS "timeouts { idle = 2d }\n",
     E("2:19: timeouts: idle: 2d is not from 1 to 86400 seconds")},
    {TLS "timeouts { idle = 0s }\n",
     E("2:19: timeouts: idle: 0s is not from 1 to 86400 seconds")},
    {TLS "timeouts { idle = 5M }\n",
     E("2:19: timeouts: idle: \"5M\" is no time: write seconds, or 30s, 5m, 2h, 1d")},
    {TLS "timeouts { idle = s }\n",
     E("2:19: timeouts: idle: \"s\" is no time: write seconds, or 30s, 5m, 2h, 1d")},
    {TLS "Hostname = \"a.example\"\n",
     E("2:1: Hostname: there is no such key: did you mean \"hostname\"?")},
    {TLS "host-name = \"a.example\"\n",
     E("2:1: host-name: there is no such key: did you mean \"hostname\"?")},
    {TLS "tls { cert = \"/c\" }\n",
     E("2:7: tls: cert: there is no such key: did you mean \"certificate\"?")},
    {TLS "tls { certifciate = \"/c\" }\n",
     E("2:7: tls: certifciate: there is no such key: did you mean \"certificate\"?")},
    {TLS "tls { eky = \"/k\" }\n",
     E("2:7: tls: eky: there is no such key: did you mean \"key\"?")},
    {TLS "auth { atempts = 3 }\n",
     E("2:8: auth: atempts: there is no such key: did you mean \"attempts\"?")},
    {TLS "limits { conections = 3 }\n",
     E("2:10: limits: conections: there is no such key: did you mean \"connections\"?")},
    {TLS "auth { pam_servcie = \"x\" }\n",
     E("2:8: auth: pam_servcie: there is no such key: did you mean \"pam_service\"?")},
    {TLS "listner \"a\" {\n address = \"*:1465\"\n}\nworkers = 0\n",
     E("2:1: listner: there is no such section: did you mean \"listen\"?")
         E("5:11: workers: 0 is not from 1 to 256")},
    {TLS "limit { errors = 3 }\n",
     E("2:1: limit: there is no such section: did you mean \"limits\"?")},
    {TLS "smtp { banner = \"hello\" }\n", E("2:1: smtp: there is no such section")},
    {TLS "banner = \"hello\"\n", E("2:1: banner: there is no such key")},
    {TLS "address = \"127.0.0.1:25\"\n",
     E("2:1: address: belongs in section listen or backend")},
    {TLS "auth { hostname = \"a.example\" }\n",
     E("2:8: auth: hostname: belongs outside of sections: is a brace \"}\" missing above?")},
    {TLS "auth { errors = 3 }\n", E("2:8: auth: errors: belongs in section limits")},
    {TLS "timeouts { timeout = 3 }\n", E("2:12: timeouts: timeout: belongs in section auth")},
    {TLS "log = stderr\n", E("2:1: log: is a section, written as: log { ... }")},
    {TLS "listen = \"*:465\"\n",
     E("2:1: listen: is a section, written as: listen \"name\" { ... }")},
    {TLS "hostname { }\n", E("2:1: hostname: is a key, and no section: \"=\" comes after it")},
    {TLS "mechanisms { \"PLAIN\" }\n",
     E("2:1: mechanisms: is a key, and no section: \"=\" comes after it")},
    {TLS "auth { mechanisms { \"PLAIN\" } }\nworkers = 0\n",
     E("2:8: auth: mechanisms: is a key, and no section: \"=\" comes after it")
         E("3:11: workers: 0 is not from 1 to 256")},
    {"tls {\n certificate = \"/c.pem\"\n key = \"/k.pem\"\n\n" LISTEN "workers = 0\n",
     E("5:1: listen: stands inside of section tls of line 1: is a brace \"}\" missing above?")
         E("6:11: workers: 0 is not from 1 to 256")},
    {"tls {\n certificate = \"/c.pem\"\n key = \"/k.pem\"\n " LISTEN "}\nworkers = 0\n",
     E("4:2: listen: stands inside of section tls of line 1: is a brace \"}\" missing above?")
         E("6:11: workers: 0 is not from 1 to 256")},
    {"tls {\n certificate = \"/c.pem\"\n key = \"/k.pem\"\n\nhostname = \"a.example\"\n}\n",
     E("5:1: tls: hostname: belongs outside of sections: is a brace \"}\" missing above?")},
    {TLS LISTEN "}\nworkers = 0\n", E("3:1: no section is open that this \"}\" could close")
                                        E("4:11: workers: 0 is not from 1 to 256")},
    {TLS "listen \"a\" {\n address = \"*:1465\"\n",
     E("2:1: listen \"a\": the section is not closed: its \"}\" is missing")},
    {TLS "listen {\n address = \"*:1465\"\n role = mix\n}\n",
     E("2:1: listen: there is no name in quotes after it: listen \"name\" { ... }")
         E("4:9: listen: role: \"mix\" is none of \"submission\", \"mx\"")},
    {TLS "listen a b { }\n", E("2:1: listen: there is no \"{\" after it")},
    {TLS "log \"main\" { level = debug }\n", E("2:1: log: has no name: log { ... }")},
    {TLS "log\n{ level = loud }\n", E("3:11: log: level: \"loud\" is none of \"error\", "
                                      "\"warning\", \"notice\", \"info\", \"debug\"")},
    {TLS "log level = debug\n", E("2:1: log: there is no \"{\" after it")},
    {TLS "{ level = debug }\n", E("2:1: a key or the name of a section is missing here")
                                    E("2:3: level: belongs in section log")},
    {TLS "[tls]\nminimum = \"1.2\"\n",
     E("2:1: a section is written as: tls { ... }") E("3:1: minimum: belongs in section tls")},
    {TLS "user: postern\n", E("2:1: \"=\" comes after a key, and no \":\"")},
    {TLS "user postern\n", E("2:1: user: there is no \"=\" after it")},
    {TLS "user == postern\n", E("2:6: user: the value is missing after \"=\"")},
    {TLS "user =\nworkers = 2\n", E("2:6: user: the value is missing after \"=\"")},
    {TLS "user =\nlisten \"a\" {\n address = \"*:1465\"\n}\nworkers = 0\n",
     E("2:6: user: the value is missing after \"=\"")
         E("6:11: workers: 0 is not from 1 to 256")},
    {TLS "= postern\n", E("2:1: there is no key before \"=\"")},
    {TLS "user\n", E("2:1: user: there is no \"=\" after it")},
    {TLS "backend { program = /bin/true -bs\n}\nworkers = 0\n",
     E("2:31: backend: program: there is more after the value: one with spaces stands in "
       "quotes") E("4:11: workers: 0 is not from 1 to 256")},
    {TLS "user = \"a\" \"b\"\n",
     E("2:12: user: there is more after the value: one with spaces stands in quotes")},
    {TLS "user = \"a\",\nworkers = 0\n",
     E("2:11: user: a comma comes between the elements of a list only")
         E("3:11: workers: 0 is not from 1 to 256")},
    {TLS "user = \"a\nworkers = 0\n", E("2:8: user: the string is not closed on its line")
                                          E("3:11: workers: 0 is not from 1 to 256")},
    {TLS "user = \"C:\\mail\"\nworkers = 0\n",
     E("2:11: user: after a backslash in a string comes a backslash, the quote or \"$\" only")
         E("3:11: workers: 0 is not from 1 to 256")},
    {TLS "limits { exempt = {\"10.0.0.0\\/8\"} } workers = 0\n",
     E("2:29: limits: exempt: after a backslash in a string comes a backslash, the quote or "
       "\"$\" only") E("2:47: workers: 0 is not from 1 to 256")},
    {TLS "user = \"a\x01\\x\x02\" workers = 0\n",
     E("2:10: user: there is a control character in the string")
         E("2:26: workers: 0 is not from 1 to 256")},
    {TLS "listen \"a\" { address = *:1465 }\nworkers = 0\n",
     E("2:24: listen \"a\": address: '*' stands outside of quotes")
         E("3:11: workers: 0 is not from 1 to 256")},
    {TLS "user = $USER\nworkers = 0\n",
     E("2:8: user: '$' stands outside of quotes") E("3:11: workers: 0 is not from 1 to 256")},
    {TLS "user = ${USER}\nworkers = 0\n",
     E("2:8: user: '$' stands outside of quotes") E("3:11: workers: 0 is not from 1 to 256")},
    {TLS "limits { exempt = {\"::1\" \"127.0.0.1\"} }\n",
     E("2:20: limits: exempt: there is no comma after this element")},
    {TLS "limits { exempt = {\"::1\",, \"127.0.0.1\"} }\n",
     E("2:26: limits: exempt: there is a comma too many")},
    {TLS "limits { exempt = {\"::1\",\n errors = 3\n}\nworkers = 0\n",
     E("2:19: limits: exempt: the list is not closed: its \"}\" is missing")
         E("5:11: workers: 0 is not from 1 to 256")},
    {TLS "limits { exempt = {\"::1\", *} }\nworkers = 0\n",
     E("2:27: limits: exempt: '*' stands outside of quotes")
         E("3:11: workers: 0 is not from 1 to 256")},
    {TLS "limits { exempt = [\"::1\"] }\n",
     E("2:19: limits: exempt: a list stands in braces: {\"...\"}")},
    {TLS "limits { exempt = {\"::1\"} exempt = {} }\n",
     E("2:27: limits: exempt: is given twice, first in line 2")},
    {TLS "auth { mechanisms = \"PLAIN LOGIN\" }\n",
     E("2:21: auth: mechanisms: \"PLAIN LOGIN\" is none of \"PLAIN\", \"LOGIN\", "
       "\"EXTERNAL\"")},
    {TLS "workers = {2}\n", E("2:1: workers: takes one value, and no list")},
    {TLS "/* begin\nworkers = 0\n", E("2:1: the comment is not closed")},
    {TLS "include = \"conf.d/*.conf\"\n",
     E("2:1: include: is written without \"=\", as in: include \"conf.d/*.conf\"")},
    {TLS "include(\"conf.d/*.conf\")\n", E("2:8: '(' stands outside of quotes")},
    {TLS "auth { include \"x.conf\" }\n",
     E("2:8: auth: include: stands outside of sections only")},
    {TLS "auth { legacy_ehlo = ja }\n",
     E("2:22: auth: legacy_ehlo: \"ja\" is neither true nor false")},
    {TLS "backend { tls = on }\n",
     E("2:17: backend: tls: \"on\" is none of \"off\", \"starttls\", \"implicit\"")},
};

static void test_each_mistake_is_answered_with_what_to_do(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(mistakes); i++) {
        char errors[8192];
        struct config *config =
            load_text(mistakes[i].text, strlen(mistakes[i].text), errors, sizeof errors);
        assert_string_equal(errors, mistakes[i].error);
        assert_null(config);
    }
}

static void test_units_of_time_mean_seconds(void **state)
{
    static const struct {
        const char *written;
        unsigned seconds;
    } times[] = {{"90", 90},    {"90s", 90},    {"\"5m\"", 300},  {"2h", 7200},
                 {"1d", 86400}, {"24h", 86400}, {"1440m", 86400}, {"007", 7}};
    (void)state;
    for (size_t i = 0; i < COUNT(times); i++) {
        char text[256];
        snprintf(text, sizeof text, TLS "timeouts { idle = %s }\n", times[i].written);
        struct config *config = load_good(text);
        assert_int_equal(config->timeouts.idle_ms, times[i].seconds * 1000);
        config_free(config);
    }
}

/* A program that was given by mistake, for example. */
static void test_file_without_any_sense_ends_after_a_hundred_faults(void **state)
{
    static char text[20000], errors[65536];
    size_t lines = 0;
    (void)state;
    for (size_t i = 0; i + 2 < sizeof text; i += 2)
        memcpy(text + i, "\1\n", 2);
    assert_null(load_text(text, sizeof text - 2, errors, sizeof errors));
    for (const char *at = errors; (at = strchr(at, '\n')); at++)
        lines++;
    assert_int_equal(lines, 101 + 2);
    assert_non_null(strstr(errors, "there are more faults, which are not shown"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_mistake_is_answered_with_what_to_do),
        cmocka_unit_test(test_units_of_time_mean_seconds),
        cmocka_unit_test(test_file_without_any_sense_ends_after_a_hundred_faults),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}

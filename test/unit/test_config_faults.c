/* The configuration file: that each fault is told with its place. */
#include "config_file.h"

#define E(text) "postern: error: f:" text "\n"

/* One fault each: what is logged, to the letter. */
static const struct {
    const char *text, *error;
} faults[] = {
    {"# a comment\n/* and\nanother */ // and one\n" TLS "\nhostnme = \"x\"\n",
     E("6:1: hostnme: there is no such key: did you mean \"hostname\"?")},
    {TLS "auth { bogus = {\"a\", \"b\"} }", E("2:8: auth: bogus: there is no such key")},
    {TLS "bogus { a = 1 }", E("2:1: bogus: there is no such section")},
    {TLS "include(\"/etc/passwd\")", E("2:8: '(' stands outside of quotes")},
    {TLS "workers = four", E("2:11: workers: \"four\" is not a whole number")},
    {TLS "nameservers = {\"ns.example\"}",
     E("2:16: nameservers: \"ns.example\" is not an IP address, with a port or without")},
    {TLS "workers = 1.5", E("2:11: workers: \"1.5\" is not a whole number")},
    {TLS "workers = -1", E("2:11: workers: -1 is not from 1 to 256")},
    {TLS "workers = \"\"", E("2:11: workers: \"\" is not a whole number")},
    {TLS "workers = 0", E("2:11: workers: 0 is not from 1 to 256")},
    {TLS "workers = 99999999999999999999",
     E("2:11: workers: 99999999999999999999 is not from 1 to 256")},
    {TLS "timeouts {\n\n idle = 86401 }",
     E("4:9: timeouts: idle: 86401 is not from 1 to 86400 seconds")},
    {TLS "workers = 2\nworkers = 3", E("3:1: workers: is given twice, first in line 2")},
    {TLS "auth { legacy_ehlo = maybe }",
     E("2:22: auth: legacy_ehlo: \"maybe\" is neither true nor false")},
    {TLS "listen \"submission\" {\n address = \"*:587\"\n tls = \"startls\"\n}",
     E("4:8: listen \"submission\": tls: \"startls\" is none of \"implicit\", \"starttls\", "
       "\"either\"")},
    {TLS "listen a {\n address = \"*:1\"\n proxy_protocol = {\"::1\", \"10.0.0.1/8\"} }",
     E("4:27: listen \"a\": proxy_protocol: \"10.0.0.1/8\" has bits set behind its prefix")},
    {TLS "listen a { address = \"*:1\" }\nlisten a { address = \"*:2\" }",
     E("3:1: listen \"a\": an earlier section has the same name, in line 2")},
    {TLS "listen a { address = \"*:1\" }\nlisten b {\n address = \"[::]:1\" }",
     E("4:2: listen \"b\": address: \"[::]:1\" is also the address of listen \"a\"")},
    {TLS "listen a { address = \"*:1\" backend = {\"b\"} }",
     E("2:28: listen \"a\": backend: there is no backend \"b\"")},
    {TLS "backend \"b\" { }\nlisten a {\n address = \"*:1\"\n backend = {\"b\", \"b\"} }",
     E("5:2: listen \"a\": backend: names \"b\" twice")},
    {TLS "backend \"b\" { }\nbackend \"b\" { }",
     E("3:1: backend \"b\": an earlier section has the same name, in line 2")},
    {TLS "admin {\n socket = \"control\" }",
     E("3:11: admin: socket: \"control\" is not a path from the root")},
    {TLS "admin { metrics = \"192.0.2.1:9125\" }",
     E("2:9: admin: metrics: \"192.0.2.1:9125\" is not an address of this host alone, such as "
       "\"127.0.0.1:9125\": say who may read there, as in allow = {\"192.0.2.0/24\"}")},
    {TLS "admin {\n allow = {\"192.0.2.0/24\"} }",
     E("3:2: admin: allow: is of no use without an address \"metrics\"")},
    {TLS "admin {\n metrics = \"*:9125\"\n allow = {\"192.0.2.0/33\"} }",
     E("4:11: admin: allow: \"192.0.2.0/33\" is not an address, or network in CIDR notation")},
    {TLS "log { file = \"postern.log\" }",
     E("2:14: log: file: \"postern.log\" is not a path from the root")},
    {TLS "admin { metrics = \"[2001:db8::1]:9125\" }",
     E("2:9: admin: metrics: \"[2001:db8::1]:9125\" is not an address of this host alone, such "
       "as \"127.0.0.1:9125\": say who may read there, as in allow = {\"192.0.2.0/24\"}")},
    {TLS "admin { metrics = \"unix:/m\" }",
     E("2:19: admin: metrics: \"unix:/m\" is no TCP address, such as \"127.0.0.1:9125\"")},
    {TLS "backend \"\" { }", E("2:1: backend \"\": the name is empty")},
    {TLS "certificate \"x\" {\n key = \"/k\" }",
     E("2:1: certificate \"x\": certificate: must be given")},
    {TLS "listen a { address = \"*:1\"\n client_certificates = require }",
     E("2:1: listen \"a\": client_ca: must be given where client certificates are asked for")},
    {TLS "listen a { address = \"*:1\" external = cn }",
     E("2:28: listen \"a\": external: is of no use where client certificates are not asked "
       "for")},
    {TLS "listen a { address = \"*:1\" client_ca = \"/ca\" }",
     E("2:28: listen \"a\": client_ca: is of no use where client certificates are not asked "
       "for")},
    {TLS "listen a { address = \"*:1\" client_crl = \"/crl\" }",
     E("2:28: listen \"a\": client_crl: is of no use where client certificates are not asked "
       "for")},
    {TLS "auth { mechanisms = {\"PLAIN\"} }\nlisten a { address = \"*:1\" external = CN\n"
         "client_certificates = request client_ca = \"/ca\" }",
     E("3:28: listen \"a\": external: is of no use where EXTERNAL is not among the "
       "mechanisms")},
    {TLS "backend {\n ca = \"/ca\" }", E("3:2: backend: ca: is of no use where tls = \"off\"")},
    {TLS "backend {\n tls_name = \"a.example\" }",
     E("3:2: backend: tls_name: is of no use where tls = \"off\"")},
    {TLS "backend {\n address = \"unix:/x\" tls = starttls }",
     E("2:1: backend: tls_name: must be given: a unix socket is no name for a certificate")},
    {TLS "backend {\n hide_login = true }",
     E("3:2: backend: hide_login: is of no use without a trace")},
    {TLS "backend {\n address = \"127.0.0.1:25\"\n program = \"/bin/true\"\n user = exim }",
     E("3:2: backend: address: is of no use beside \"program\", which is started in its place: "
       "leave one out")},
    {TLS "backend {\n user = exim }", E("3:2: backend: user: is of no use without a program")},
    {TLS "backend {\n program = \"/bin/true\" tls = implicit }",
     E("3:24: backend: tls: is not for a program")},
    {TLS "listen a { address = \"*:1\" mechanisms = {\"EXTERNAL\"} }",
     E("2:28: listen \"a\": mechanisms: none is left with which anybody could log in")},
    {TLS "listen a { address = \"*:1\" external = login }",
     E("2:39: listen \"a\": external: \"login\" is none of \"cn\", \"email\", \"dns\", and no "
       "file's path")},
    {TLS "listen a {\n}", E("2:1: listen \"a\": address: must be given")},
    {TLS "listen \"\" { address = \"*:1\" }", E("2:1: listen \"\": the name is empty")},
    {TLS "listen { address = \"*:1\" }",
     E("2:1: listen: there is no name in quotes after it: listen \"name\" { ... }")},
    {TLS "listen a { address = \"mx.example:1\" }",
     E("2:22: listen \"a\": address: \"mx.example:1\": the host is not an IP address (names "
       "are not looked up)")},
    {TLS "listen a { address = \"unix:/x\" }",
     E("2:22: listen \"a\": address: \"unix:/x\": a listener has a TCP port")},
    {TLS "backend { address = \"*:25\" }",
     E("2:21: backend: address: \"*:25\": \"any address\" is for listeners: name the one that "
       "the backend listens on")},
    {TLS "listen a { address = \"*:25\" }",
     E("2:12: listen \"a\": address: \"*:25\" is where the backend is looked for, as there is "
       "no section \"backend\": mail would go round")},
    {TLS "backend { address = \"[::ffff:127.0.0.1]:2525\" }",
     E("2:11: backend: address: \"[::ffff:127.0.0.1]:2525\" leads back to listen "
       "\"alternate\"")},
    {TLS "auth {\n mechanisms = { } }", E("3:2: auth: mechanisms: the list is empty")},
    {TLS "auth { mechanisms = {\n} }", E("2:8: auth: mechanisms: the list is empty")},
    {TLS "auth { mechanisms = {\"PLAIN\",\n\"CRAM-MD5\"} }",
     E("3:1: auth: mechanisms: \"CRAM-MD5\" is none of \"PLAIN\", \"LOGIN\", \"EXTERNAL\"")},
    {TLS "auth { workers = 4\n share = 5 }",
     E("3:2: auth: share: 5 is more than the 4 workers")},
    {TLS "auth { pam_service = \"../su\" }",
     E("2:22: auth: pam_service: \"../su\" is not the name of a PAM service")},
    {TLS "backend { identity = ident }",
     E("2:22: backend: identity: \"ident\" is none of \"auto\", \"xclient\", \"proxy-v1\", "
       "\"proxy-v2\", \"auth-param\", \"trace\", \"program\", \"transparent\", \"none\"")},
    {TLS "listen in {\n address = \"*:1\"\n role = mx }\nbackend { identity = auth-param }",
     E("4:2: listen \"in\": role: mx would be an open relay: backend \"default\" does not hear "
       "the client's address (identity = \"auth-param\"), and \"recipients\" is not given")},
    {TLS "listen in {\n address = \"*:1\"\n role = mx }\n"
         "backend { identity_required = {\"HELO\", \"LOGIN\"} }",
     E("4:2: listen \"in\": role: mx would be an open relay: backend \"default\" does not hear "
       "the client's address (identity = \"auto\", identity_required without ADDR), and "
       "\"recipients\" is not given")},
    {TLS "listen in {\n address = \"*:1\"\n role = mx }\nlisten users { address = \"*:2\" }\n"
         "backend { identity = proxy-v2 }",
     E("4:2: listen \"in\": role: mx would be an open relay: backend \"default\" cannot tell "
       "it "
       "from listen \"users\", where users log in (identity = \"proxy-v2\"), and "
       "\"recipients\" is not given")},
    {TLS "log { format = plain }",
     E("2:16: log: format: \"plain\" is none of \"text\", \"json\"")},
    {TLS "tls { minimum = \"1.1\" }",
     E("2:17: tls: minimum: \"1.1\" is none of \"1.2\", \"1.3\"")},
    {TLS "hostname = \"a b\"",
     E("2:12: hostname: \"a b\" is not a host name or an address in brackets")},
    {TLS "user = \"\"", E("2:8: user: is empty")},
    {TLS "user = \"a\nworkers = 2", E("2:8: user: the string is not closed on its line")},
    {TLS "user = 'a\001b'", E("2:10: user: there is a control character in the string")},
    {TLS "user = \"a\\nb\"",
     E("2:10: user: after a backslash in a string comes a backslash, the quote or \"$\" only")},
    {TLS "user = ${HOME}", E("2:8: user: '$' stands outside of quotes")},
    {TLS "user = *", E("2:8: user: '*' stands outside of quotes")},
    {TLS "auth { mechanisms += \"LOGIN\" }", E("2:19: auth: '+' stands outside of quotes")},
    {TLS "auth|workers = 2", E("2:5: '|' stands outside of quotes")},
    {TLS "\xef\xbb\xbf", E("2:1: a character that is not ASCII stands outside of quotes")},
    {TLS "user \"x\"", E("2:1: user: there is no \"=\" after it")},
    {TLS "user = {\"x\"}", E("2:1: user: takes one value, and no list")},
    {TLS "}", E("2:1: no section is open that this \"}\" could close")},
    {TLS "auth {\n workers = 2\n",
     E("2:1: auth: the section is not closed: its \"}\" is missing")},
    {TLS "workers =", E("2:9: workers: the value is missing after \"=\"")},
    {TLS "\n/* for ever", E("3:1: the comment is not closed")},
    {TLS "\"\" = 1", E("2:1: there is no such key")},
    {"tls { certificate = \"/c\"\n }", E("1:1: tls: key: must be given")},
};

static void test_a_fault_names_file_line_and_key(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(faults); i++) {
        char errors[8192];
        struct config *config =
            load_text(faults[i].text, strlen(faults[i].text), errors, sizeof errors);
        assert_string_equal(errors, faults[i].error);
        assert_null(config);
    }
}

static void test_all_faults_are_told_at_once(void **state)
{
    static const char text[] = "workers = 0\nfirst = 1\nuser = \"\"\nsecond = \"2\"\n"
                               "listen a {\n tls = no\n third = 3\n address = x\n}\n"
                               "auth { mechanisms = {\"X\", \"Y\"} attempts = 0 }\n";
    static const char *const wanted[] = {
        "f:1:11: workers: ",
        "f:2:1: first: ",
        "f:3:8: user: ",
        "f:4:1: second: ",
        "f:6:8: listen \"a\": tls",
        "f:7:2: listen \"a\": third",
        "f:8:12: listen \"a\": addr",
        "f:10:43: auth: attempts",
        "auth: mechanisms: \"X\"",
        "auth: mechanisms: \"Y\"",
        "tls: certificate: must",
        "tls: key: must",
    };
    char errors[8192];
    size_t lines = 0;
    (void)state;
    assert_null(load_text(text, sizeof text - 1, errors, sizeof errors));
    for (size_t i = 0; i < COUNT(wanted); i++)
        if (!strstr(errors, wanted[i]))
            fail_msg("no \"%s\" in\n%s", wanted[i], errors);
    for (const char *at = errors; (at = strchr(at, '\n')); at++)
        lines++;
    assert_int_equal(lines, COUNT(wanted));
}

/* A reload may follow a file that ended in the middle of a string. */
static void test_broken_file_does_not_spoil_the_next(void **state)
{
    static const char *const broken[] = {
        TLS "user = \"",      TLS "user = '",   TLS "/*",           TLS "auth {",
        TLS "user = \"\\9\"", TLS "listen a {", TLS "listen a b {", TLS "x { y { z",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(broken); i++) {
        char errors[8192];
        assert_null(load_text(broken[i], strlen(broken[i]), errors, sizeof errors));
        assert_memory_equal(errors, "postern: error: f:2:", 20);
        config_free(load_good(TLS));
    }
}

static void test_any_cut_of_a_file_is_refused_or_whole(void **state)
{
    static const char whole[] =
        "/* a */ user = \"x\" " TLS "listen \"b\" { address = \"*:1\" }\n"
        "auth { mechanisms = {\"PLAIN\", 'LOGIN'} } # end\n";
    size_t tls_end = (size_t)(strstr(whole, "\n") - whole);
    (void)state;
    for (size_t length = 0; length < sizeof whole; length++) {
        char errors[8192];
        struct config *config = load_text(whole, length, errors, sizeof errors);
        assert_int_equal(config == NULL, errors[0] != '\0');
        if (length < tls_end)
            assert_null(config);
        config_free(config);
    }
}

static void test_nul_bytes_hide_nothing(void **state)
{
    static const char text[] = TLS "\0workers = 0\n";
    char errors[8192];
    (void)state;
    assert_null(load_text(text, sizeof text - 1, errors, sizeof errors));
    assert_string_equal(errors, E("2:1: a control character stands outside of quotes"));
}

static void assert_unreadable(const char *name, const char *why)
{
    char errors[8192];
    struct capture capture = capture_begin();
    assert_null(config_load(name));
    capture_end(capture, errors, sizeof errors);
    if (!strstr(errors, name) || !strstr(errors, why))
        fail_msg("%s: \"%s\" does not say \"%s\"", name, errors, why);
}

static void test_file_that_cannot_be_read_is_told(void **state)
{
    (void)state;
    assert_unreadable("/nonexistent/postern.conf", "No such file or directory");
    assert_unreadable(directory, "Is a directory");
    assert_unreadable("/dev/zero", "too long");
    write_file(TLS, sizeof TLS - 1);
    assert_int_equal(chmod(path, 0), 0);
    if (geteuid() != 0)
        assert_unreadable(path, "Permission denied");
    assert_int_equal(chmod(path, 0600), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_fault_names_file_line_and_key),
        cmocka_unit_test(test_all_faults_are_told_at_once),
        cmocka_unit_test(test_broken_file_does_not_spoil_the_next),
        cmocka_unit_test(test_any_cut_of_a_file_is_refused_or_whole),
        cmocka_unit_test(test_nul_bytes_hide_nothing),
        cmocka_unit_test(test_file_that_cannot_be_read_is_told),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}

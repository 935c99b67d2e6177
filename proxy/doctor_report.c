/* Writes what the doctor's checks find. Called by doctor.c and, through doctor_internal.h, by
 * each check. */
#include "proxy/doctor_report.h"

#include <stdarg.h>
#include <string.h>

#include "proxy/base/escape.h"
#include "proxy/doctor.h"

static const char *const words[DOCTOR_SEVERITIES] = {
    [DOCTOR_OK] = "ok",           [DOCTOR_NOTE] = "note",   [DOCTOR_SKIPPED] = "skipped",
    [DOCTOR_WARNING] = "warning", [DOCTOR_ERROR] = "error",
};

/* An escaped byte takes six at the most. */
static void write_escaped(FILE *out, enum escape_style style, const char *text)
{
    char escaped[DOCTOR_TEXT_SIZE * 6];
    size_t length = 0;
    (void)escape(style, text, strlen(text), escaped, sizeof escaped, &length);
    fwrite(escaped, 1, length, out);
}

static void write_member(FILE *out, const char *key, const char *value)
{
    fprintf(out, ", \"%s\": \"", key);
    write_escaped(out, ESCAPE_JSON, value);
    fputc('"', out);
}

static void write_object(const struct doctor_report *report, bool first)
{
    FILE *out = report->out;
    fprintf(out, "%s\n  {\"check\": \"%s\"", first ? "" : ",", report->pending_check);
    write_member(out, "severity", words[report->severity]);
    write_member(out, "message", report->message);
    if (report->advice[0])
        write_member(out, "advice", report->advice);
    fputc('}', out);
}

static void write_line(const struct doctor_report *report)
{
    fprintf(report->out, "%-8s %s: ", words[report->severity], report->pending_check);
    write_escaped(report->out, ESCAPE_PROSE, report->message);
    if (report->advice[0]) {
        fputs(" -> ", report->out);
        write_escaped(report->out, ESCAPE_PROSE, report->advice);
    }
    fputc('\n', report->out);
}

static unsigned total(const struct doctor_report *report)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < DOCTOR_SEVERITIES; i++)
        sum += report->count[i];
    return sum;
}

static void write_pending(struct doctor_report *report)
{
    if (!report->pending)
        return;
    if (report->json)
        write_object(report, total(report) == 0);
    else
        write_line(report);
    fflush(report->out);
    report->count[report->severity]++;
    report->pending = false;
}

void doctor_report_begin(struct doctor_report *report)
{
    if (report->json)
        fputc('[', report->out);
}

void doctor_report_add(struct doctor_report *report, enum doctor_severity severity,
                       const char *format, ...)
{
    va_list arguments;
    write_pending(report);
    report->severity = severity;
    report->pending = true;
    report->pending_check = report->check;
    report->advice[0] = '\0';
    va_start(arguments, format);
    vsnprintf(report->message, sizeof report->message, format, arguments);
    va_end(arguments);
}

void doctor_report_advise(struct doctor_report *report, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(report->advice, sizeof report->advice, format, arguments);
    va_end(arguments);
}

int doctor_report_end(struct doctor_report *report)
{
    const unsigned *count = report->count;
    write_pending(report);
    if (report->json)
        fputs("\n]\n", report->out);
    else
        fprintf(report->out, "errors: %u, warnings: %u, skipped: %u, good: %u\n",
                count[DOCTOR_ERROR], count[DOCTOR_WARNING], count[DOCTOR_SKIPPED],
                count[DOCTOR_OK]);
    if (fflush(report->out) != 0 || count[DOCTOR_ERROR] > 0)
        return DOCTOR_STATUS_ERROR;
    return count[DOCTOR_WARNING] > 0 ? DOCTOR_STATUS_WARNING : DOCTOR_STATUS_GOOD;
}

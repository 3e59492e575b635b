/* Names and notes on their way into a line or a field. In: bytes, some of them chosen by a
 * process. Out: text without a control character. */
#include "event_text.h"

#include <string.h>

bool unit_is_plain(const char *unit) {
        static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@";

        return unit[0] != '\0' && unit[strspn(unit, allowed)] == '\0' && strchr(unit, '.');
}

void text_unit(struct text *t, const char *unit) {
        if (unit_is_plain(unit))
                text_str(t, unit);
        else
                text_escaped(t, unit, strlen(unit));
}

void text_comm(struct text *t, const char *comm, size_t len) {
        text_char(t, '"');
        text_escaped(t, comm, len);
        text_char(t, '"');
}

void text_note(struct text *t, const char *note, size_t cap) {
        size_t len = strnlen(note, cap);

        while (len > 0 && note[len - 1] == '\n')
                len--;
        for (size_t i = 0; i < len; i++) {
                unsigned char c = (unsigned char)note[i];

                if (c == '\n')
                        text_str(t, "; ");
                else
                        text_char(t, c < ' ' || c == 0x7f ? '?' : note[i]);
        }
}

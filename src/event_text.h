/* Pieces that the line and the fields of an event have in common. Written on text.h: nothing
 * of a process passes unescaped. */
#pragma once

#include "text.h"

/* Nothing but what systemd allows in the name of a unit. Such a name cannot hurt and is shown
 * as it is: the backslash in "app-gnome\x2dterminal.service" belongs to it, and who copies it
 * out of the journal must get the name. */
bool unit_is_plain(const char *unit);
/* The name as it is where that is plain, else escaped. */
void text_unit(struct text *t, const char *unit);
/* "comm", the quotes included; one inside is escaped. */
void text_comm(struct text *t, const char *comm, size_t len);
/* Our own words, up to the first NUL: lines become "; ", other controls '?'. */
void text_note(struct text *t, const char *note, size_t cap);

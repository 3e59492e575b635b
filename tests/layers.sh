#!/bin/sh
# A file includes downwards only. Which layer a room belongs to is said once, by the comments in
# meson.build's list of sources; a header belongs to the layer of its .c. Checked as well:
# headers between the rooms of one module stay between them, no two headers include each other,
# what decides does no I/O, and each external library has its one place.
#
#   tests/layers.sh [SOURCE_ROOT]
set -eu
export LC_ALL=C

root=${1:-${OOMREAPD_SOURCE_ROOT:-$(dirname "$0")/..}}
cd "$root"

# shellcheck disable=SC2016
awk '
function fail(what) {
        print "layers: " what
        failed = 1
}
function in_words(word, words) {
        return index(" " words " ", " " word " ") > 0
}
# Whether the file is one of the rooms: names, or PREFIX_* for all that begin so.
function is_room(file, rooms,    room, n, i) {
        n = split(rooms, room, " ")
        for (i = 1; i <= n; i++)
                if (file == room[i] || (sub(/\*$/, "", room[i]) && index(file, room[i]) == 1))
                        return 1
        return 0
}
function layer_of(file,    c) {
        if (file in layer)
                return layer[file]
        c = file
        sub(/\.h$/, ".c", c)
        return c in layer ? layer[c] : ""
}
BEGIN {
        n_order = split("base kernel sense decide act account edge wiring", order, " ")
        for (i = 1; i <= n_order; i++)
                height[order[i]] = i

        layer["oomreapd.c"] = "wiring"
        # Headers without a .c of their name.
        layer["base.h"] = layer["held_memory.h"] = "base"
        layer["version.h"] = "base" # generated
        layer["mm_internal.h"] = "sense"
        layer["kill_internal.h"] = layer["notify_kind.h"] = layer["notify_internal.h"] = "act"
        layer["../examples/oomreapd-notify.h"] = "base" # what others copy
        layer["rank_internal.h"] = layer["features_internal.h"] = "edge"

        only["mm_internal.h"] = "mm_*"
        only["kill_internal.h"] = "kill_*"
        only["notify_internal.h"] = "notify_socket.c notify_subscribers.c"
        only["rank_internal.h"] = "rank_*"
        only["features_internal.h"] = "kernel_features.c features_peers.c rehearsal.c"
        only["daemon_say.h"] = "daemon*"

        library["libcgroup.h"] = "cgroup.c"
        library["ini.h"] = "config_lines.c"
        library["systemd/sd-event.h"] = "event_loop.c"
        library["systemd/sd-journal.h"] = "journal.c"
        library["systemd/sd-daemon.h"] = "oomreapd.c event_loop.c journal.c"

        no_decide = "fcntl.h stdio.h time.h unistd.h dirent.h poll.h syslog.h pthread.h sys/"
}
FILENAME == "meson.build" {
        if ($0 ~ /^core_sources = files\(/)
                listing = 1
        else if (listing && $0 ~ /^\)/)
                listing = 0
        if (!listing)
                next
        if (NF == 2 && $1 == "#") {
                current = $2
                if (!(current in height))
                        fail("meson.build: \"" current "\" is no layer")
                else if (height[current] != ++n_seen)
                        fail("meson.build: layer \"" current "\" is out of order")
        }
        line = $0
        while (match(line, /src\/[a-z0-9_]+\.c/)) {
                layer[substr(line, RSTART + 4, RLENGTH - 4)] = current
                listed++
                line = substr(line, RSTART + RLENGTH)
        }
        next
}
FNR == 1 {
        file = FILENAME
        sub(/^src\//, "", file)
        mine = layer_of(file)
        if (mine == "")
                fail(file ": in no layer (name it in meson.build, or here when it is a header without a .c)")
        n_files++
}
/^#[ \t]*include[ \t]*"/ {
        split($0, part, "\"")
        other = part[2]
        theirs = layer_of(other)
        n_includes++
        if (theirs == "")
                fail(file ": includes " other ", which is in no layer")
        else if (mine != "" && height[theirs] > height[mine])
                fail(file " (" mine ") includes " other " (" theirs "): upwards")
        if (other in only && !is_room(file, only[other]))
                fail(file ": includes " other ", which is between " only[other])
        if (file ~ /\.h$/)
                includes[file] = includes[file] " " other
}
/^#[ \t]*include[ \t]*</ {
        split($0, part, /[<>]/)
        if (part[2] in library && !in_words(file, library[part[2]]))
                fail(file ": <" part[2] "> belongs to " library[part[2]])
        if (mine == "decide") {
                directory = part[2]
                sub(/\/.*/, "/", directory)
                if (in_words(part[2], no_decide) || in_words(directory, no_decide))
                        fail(file ": what decides does no I/O, so what for <" part[2] ">?")
        }
}
mine == "decide" && /(kernel|[^a-z_]k)->/ {
        fail(file ":" FNR ": what decides does not ask the kernel")
}
END {
        if (n_seen != n_order)
                fail("meson.build: " n_seen + 0 " layers of " n_order)
        if (n_files < 50 || n_includes < 100 || listed < 30)
                fail("only " n_files + 0 " files, " n_includes + 0 " includes: not looking at the sources")

        # Headers that include no other of those left, or that none of those includes, go round by
        # round; what stays are circles.
        do {
                gone = 0
                split("", wanted)
                for (file in includes) {
                        n = split(includes[file], part, " ")
                        for (i = 1; i <= n; i++)
                                wanted[part[i]] = 1
                }
                for (file in includes) {
                        n = split(includes[file], part, " ")
                        for (i = 1; i <= n && !(part[i] in includes); i++)
                                ;
                        if (i > n || !(file in wanted))
                                done[++gone] = file
                }
                for (i = 1; i <= gone; i++)
                        delete includes[done[i]]
        } while (gone > 0)
        for (file in includes)
                fail(file ": part of a circle of headers, by way of one of" includes[file])
        if (!failed)
                print "layers: " n_files " files, " n_includes " includes, all downwards"
        exit failed
}
' meson.build src/*.c src/*.h

# What the virtual machines are made of comes from other suites of Debian than the one that runs
# here. Their package lists are kept in a directory of their own, so that nothing of this machine's
# apt changes; the mirror is the one that this machine uses already. Sourced, not run.

vm_keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# The mirror of this machine's own release, and the release's name, as apt has them configured.
vm_release() {
        (. /etc/os-release && echo "${VERSION_CODENAME-}")
}
vm_mirror() {
        apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
                awk -v name="$(vm_release)" '$2 == "main" && ($1 == name || $1 ~ /^(old)*stable$/) { print $3; exit }'
}

# suite_open DIR SUITE: a private apt for SUITE in DIR; the package lists are fetched when they
# are missing or older than a day. After it, suite_apt runs apt-get or apt-cache on it.
suite_open() {
        suite_dir=$1
        mkdir -p "$suite_dir/lists/partial" "$suite_dir/cache/archives/partial" "$suite_dir/preferences.d"
        echo "deb [signed-by=$vm_keyring] $(vm_mirror) $2 main" >"$suite_dir/sources.list"
        : >"$suite_dir/status"
        [ -z "$(find "$suite_dir/fetched" -mmin -1440 2>/dev/null)" ] || return 0
        suite_apt get update -qq -o APT::Update::Error-Mode=any || return 1
        : >"$suite_dir/fetched"
}
suite_apt() {
        tool=$1
        shift
        "apt-$tool" -o Dir::Etc::sourcelist="$suite_dir/sources.list" -o Dir::Etc::sourceparts=/dev/null \
                -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts="$suite_dir/preferences.d" \
                -o Dir::State::lists="$suite_dir/lists" -o Dir::Cache="$suite_dir/cache" \
                -o Dir::State::status="$suite_dir/status" -o APT::Sandbox::User=root "$@"
}

# suite_unpack DIR PACKAGE...: fetches the packages themselves, without what they depend on, and
# unpacks them into DIR; no script of theirs is run.
suite_unpack() {
        into=$1
        shift
        fetched=$(mktemp -d "$suite_dir/fetch.XXXXXX")
        (cd "$fetched" && suite_apt get download -qq "$@")
        mkdir -p "$into"
        for file in "$fetched"/*.deb; do
                dpkg-deb -x "$file" "$into"
        done
        rm -rf "$fetched"
}

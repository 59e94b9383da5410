#!/bin/bash
# Builds the Debian package around a program that is built already (target/release, else target/debug), installs,
# updates, removes and purges it. It changes this machine, so only the checks of a change call it; it is skipped, with
# a word, without root, dpkg or cargo-deb, and where Raincheck is installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

skip() { echo "skipped: $*"; exit 0; }
fail() { echo "failed: $*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || skip "not root"
command -v dpkg >/dev/null || skip "no dpkg"
cargo deb --version >/dev/null 2>&1 || skip "no cargo-deb (cargo install cargo-deb --locked)"
! dpkg -s raincheck >/dev/null 2>&1 || skip "raincheck is installed here"

target=${CARGO_TARGET_DIR:-target}
program=$target/release/raincheck
[ -x "$program" ] || program=$target/debug/raincheck
[ -x "$program" ] || fail "nothing is built: cargo build"

scratch=$(mktemp -d)
cleanup() {
    dpkg --purge raincheck >/dev/null 2>&1 || true
    rm -rf "$scratch"
}
trap cleanup EXIT

# cargo-deb takes programs from the target folder's release/, whatever they were built as.
install -D "$program" "$scratch/target/release/raincheck"
CARGO_TARGET_DIR=$scratch/target cargo deb --no-build --no-strip --fast --quiet --output "$scratch/raincheck.deb"
deb=$scratch/raincheck.deb

config=/etc/raincheck/raincheck.toml
unit=/usr/lib/systemd/system/raincheck.service

listed=$(dpkg-deb --contents "$deb")
for path in ./usr/bin/raincheck ".$config" ".$unit" ./usr/share/doc/raincheck/{copyright,production.toml,raincheck.toml}; do
    grep -qF " $path" <<<"$listed" || fail "$path is not in the package"
done
[ "$(dpkg-deb --info "$deb" conffiles)" = "$config" ] || fail "$config is no conffile"
# Users and folders are systemd's to make, and runs are nobody's to delete.
for script in postinst prerm postrm; do
    ! dpkg-deb --info "$deb" "$script" | grep -nE 'adduser|useradd|mkdir|chown|/var/lib/raincheck' ||
        fail "$script does what systemd does"
done

dpkg -s ca-certificates >/dev/null 2>&1 ||
    { apt-get -q update && apt-get -q -y install --no-install-recommends ca-certificates; } >/dev/null
dpkg --install "$deb"
raincheck version
raincheck check --config "$config"
[ ! -e /etc/systemd/system/multi-user.target.wants/raincheck.service ] || fail "the unit is enabled before its upstream is named"
if command -v systemd-analyze >/dev/null; then
    systemd-analyze verify "$unit"
fi

echo "# changed here" >>"$config"
dpkg --install "$deb" >/dev/null
grep -q '^# changed here' "$config" || fail "an update overwrites the configuration"

dpkg --remove raincheck >/dev/null
[ ! -e /usr/bin/raincheck ] && [ ! -e "$unit" ] || fail "remove leaves the program or its unit"
grep -q '^# changed here' "$config" || fail "remove takes the configuration"
dpkg --purge raincheck >/dev/null
[ ! -e /etc/raincheck ] || fail "purge leaves /etc/raincheck"
! dpkg -s raincheck >/dev/null 2>&1 || fail "purge leaves the package"
echo "the Debian package installs, updates, and is removed"

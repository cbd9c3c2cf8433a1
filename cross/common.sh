# Sourced by build, check and run: where things lie, and a Rust standard library for a target.
# shellcheck shell=bash disable=SC2034 # the callers use the variables
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$repo/target/cross # everything made here is under this folder; delete it to start afresh

stop() {
    echo "cross: $*" >&2
    exit 1
}

say() { echo "== $*" >&2; }

# What Rust and Debian call the target that the command line names.
name_target() {
    deb_arch='' deb_triple=''
    case $1 in
    aarch64) triple=aarch64-unknown-linux-gnu deb_arch=arm64 deb_triple=aarch64-linux-gnu qemu=qemu-aarch64 ;;
    armv7) triple=armv7-unknown-linux-gnueabihf deb_arch=armhf deb_triple=arm-linux-gnueabihf qemu=qemu-arm ;;
    windows) triple=x86_64-pc-windows-gnu ;;
    macos) triple=aarch64-apple-darwin ;;
    *) stop "unknown target '$1': aarch64, armv7, windows or macos" ;;
    esac
    programs=$cache/build/$triple/dist
    root=$cache/root-$deb_arch
}

# Installs the Debian packages that are missing. Progress goes to stderr: stdout belongs to the caller.
need_packages() {
    local missing=() package
    for package; do
        dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    ((EUID == 0)) || stop "missing packages; as root: apt-get install --no-install-recommends ${missing[*]}"
    say "installing ${missing[*]}"
    { apt-get -q update && apt-get -qy install --no-install-recommends "${missing[@]}"; } >&2
}

# Sets the array `cargo` to the command that compiles for $triple: rustup's where rustup has the
# target or can add it, else Debian's compiler with a standard library made from Debian's source.
# A library once made stays in use, so that a machine without access does not ask for the target each
# time. CROSS_RUST=debian leaves rustup out.
choose_rust() {
    if [[ ${CROSS_RUST:-} != debian ]] && ! compgen -G "$cache/std-*/lib/rustlib/$triple/lib" >/dev/null &&
        rustup_has_target; then
        cargo=(cargo)
    else
        make_std
        # --config adds to the workspace's own flags; RUSTFLAGS in the environment would replace them.
        cargo=(env -u RUSTFLAGS RUSTC=/usr/bin/rustc /usr/bin/cargo
            --config "target.$triple.rustflags=['--sysroot', '$std']")
    fi
}

# In the repository, because a rust-toolchain file there chooses the toolchain.
rustup_has_target() (
    command -v rustup >/dev/null || return 1
    cd "$repo"
    rustup target list --installed 2>/dev/null | grep -qx "$triple" && return
    say "rustup target add $triple"
    timeout 300 rustup target add "$triple" >&2
)

# Debian has no standard library for these targets, so build-std makes one from its source, once per
# compiler version. It stays in $cache: rustc finds it through --sysroot, and /usr is left alone.
# rustc-web is Debian's current compiler; it conflicts with Debian's rustc and rustup packages,
# not with a rustup that its own installer put into a home folder.
make_std() {
    need_packages rustc-web cargo-web rust-web-src
    [[ $triple != *windows* ]] || need_packages gcc-mingw-w64-x86-64 # std needs its dlltool
    std=$cache/std-$(/usr/bin/rustc --version | cut -d' ' -f2)
    local lib=$std/lib/rustlib/$triple/lib work=$cache/std-build
    [[ ! -d $lib ]] || return 0
    say "building the standard library for $triple"
    mkdir -p "$work" "${lib%/lib}"
    printf '[package]\nname = "empty"\nedition = "2021"\n[lib]\npath = "lib.rs"\n[workspace]\n' >"$work/Cargo.toml"
    : >"$work/lib.rs"
    # Programs that abort on panic are only linked with a panic_abort compiled so; cargo compiles all of std alike.
    # shellcheck disable=SC2016 # the wrapper's own $@
    printf '#!/bin/sh\ncase " $* " in *" panic_abort "*) set -- "$@" -Cpanic=abort ;; esac\nexec "$@"\n' >"$work/rustc"
    chmod +x "$work/rustc"
    # build-std is a nightly feature; RUSTC_BOOTSTRAP makes a released compiler accept it, for std only.
    (
        cd "$work"
        export RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc RUSTC_WRAPPER=$work/rustc
        rm -rf "target/$triple" lib "$cache/build/$triple" # cargo does not see that std was replaced
        mkdir lib
        # Link-time optimisation needs the intermediate code, which cargo leaves out of std.
        RUSTFLAGS=-Cembed-bitcode=yes /usr/bin/cargo build --release --target-dir target --target "$triple" \
            -Zbuild-std=std,panic_abort,panic_unwind,test
        cp "target/$triple/release/deps"/*.rlib lib
        rm lib/libempty-*
        if [[ $triple = *windows-gnu ]]; then # every program is linked between these two objects
            for part in rsbegin rsend; do
                "$RUSTC" --target "$triple" --emit obj -o "lib/$part.o" \
                    "$("$RUSTC" --print sysroot)/lib/rustlib/src/rust/library/rtstartup/$part.rs"
            done
        fi
    ) >&2
    mv "$work/lib" "$lib" # last, so that an interrupted build is not taken for a finished one
}

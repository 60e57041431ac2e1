#!/usr/bin/env bash
# Makes what a release consists of, in target/dist:
#
#   tara-export-VERSION-TARGET.tar.gz    static binary, completions, man pages, licences, list of crates, units and rules
#   tara-export-VERSION-TARGET.oci.tar   container image without a base image: skopeo copy oci-archive:FILE docker://…
#   SHA256SUMS                           of both
#
#   deploy/release.sh                    builds the binary for this machine's kind, statically linked with musl
#   deploy/release.sh --binary FILE      packages this binary instead
#
# Requires Rust with rustup, a C compiler for musl (Debian: musl-tools) and CA certificates of this system, which the image
# contains.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=.ci/tools
source .ci/tools

fail() {
  printf 'error: %s\n' "$1" >&2
  exit 1
}
certificates=/etc/ssl/certs/ca-certificates.crt
binary=
case "${1:-}" in
  "") ;;
  --binary) binary=${2:?--binary needs a file} ;;
  *) fail "unknown argument: $1 (see the head of $0)" ;;
esac
[ -r "$certificates" ] || fail "$certificates is missing: install ca-certificates"

target=$(uname -m)-unknown-linux-musl
version=$(cargo pkgid --package tara-export | sed 's/.*[#@]//')
# The same commit gives the same files: all times are those of the commit, or of the changes if there is no repository.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat --format=%Y CHANGELOG.md)}
export SOURCE_DATE_EPOCH
name=tara-export-$version-$target
dist=$PWD/target/dist
work=$dist/$name
rm -rf "$dist"
mkdir -p "$work/completions" "$work/man"

if [ -z "$binary" ]; then
  command -v musl-gcc >/dev/null || fail "no C compiler for musl: install musl-tools"
  rustup target list --installed | grep --quiet --line-regexp "$target" || rustup target add "$target"
  cargo build --release --locked --target "$target" --bin tara-export
  binary=target/$target/release/tara-export
  { ldd "$binary" 2>&1 || true; } | grep --quiet -e 'statically linked' -e 'not a dynamic executable' ||
    fail "$binary is not statically linked"
fi
install --mode 0755 "$binary" "$work/tara-export"

"$work/tara-export" man --out "$work/man"
for shell in bash zsh fish; do
  "$work/tara-export" completions "$shell" >"$work/completions/tara-export.$shell"
done
cp README.md CHANGELOG.md LICENSE "$work"
cp -r deploy/systemd deploy/prometheus "$work"
install_release_tools
cargo bundle-licenses --format yaml --output "$work/THIRD_PARTY_LICENSES.yaml" 2>/dev/null
# It writes a file beside the manifest of each crate with a binary.
cargo cyclonedx --quiet --format json --spec-version 1.5 --describe binaries --target "$target"
mv tara-export_bin.cdx.json "$work/sbom.cdx.json"
find . -path ./target -prune -o -name '*_bin.cdx.json' -exec rm {} +

tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --directory "$dist" "$name" |
  gzip --no-name >"$dist/$name.tar.gz"

# The image: the binary, CA certificates and an empty data directory that its user may write.
image=$dist/image root=$dist/root layer=$dist/layer.tar
mkdir -p "$root/data" "$root/etc/ssl/certs"
install --mode 0755 "$work/tara-export" "$root/tara-export"
install --mode 0644 "$certificates" "$root/etc/ssl/certs/"
in_layer=(--sort=name --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --directory "$root" --file "$layer")
tar --create --owner=0 --group=0 "${in_layer[@]}" etc tara-export
tar --append --owner=65532 --group=65532 "${in_layer[@]}" data
created=$(date --utc --date "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
# shellcheck disable=SC2154 # .ci/tools sets it
"$umoci" init --layout "$image"
"$umoci" new --image "$image:$version"
"$umoci" raw add-layer --image "$image:$version" --history.created "$created" "$layer"
"$umoci" config --image "$image:$version" --created "$created" --history.created "$created" \
  --config.entrypoint /tara-export --config.cmd serve --config.user 65532:65532 --config.volume /data \
  --config.exposedports 8080/tcp --config.env BIND_ADDRESS=0.0.0.0 --config.env PORT=8080 --config.env DATA_DIR=/data \
  --config.label "org.opencontainers.image.version=$version"
"$umoci" gc --layout "$image"
tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --directory "$image" . \
  >"$dist/$name.oci.tar"
rm -rf "$image" "$root" "$layer" "$work"

(cd "$dist" && sha256sum "$name.tar.gz" "$name.oci.tar" >SHA256SUMS)
ls -l "$dist"

"""Checks the files of a release: the list of crates, their licences, and the container image."""

import json
import pathlib
import sys
import tarfile

folder, image = pathlib.Path(sys.argv[1]), sys.argv[2]

crates = {component["name"] for component in json.loads((folder / "sbom.cdx.json").read_text())["components"]}
licences = (folder / "THIRD_PARTY_LICENSES.yaml").read_text()
for crate in ("aws-sdk-s3", "tonic", "tokio"):
    assert crate in crates, f"sbom.cdx.json has no {crate}"
    assert f"package_name: {crate}\n" in licences, f"THIRD_PARTY_LICENSES.yaml has no {crate}"

with tarfile.open(image) as layout:

    def blob(descriptor: dict) -> dict:
        return json.load(layout.extractfile(f"./blobs/{descriptor['digest'].replace(':', '/')}"))

    (manifest,) = json.load(layout.extractfile("./index.json"))["manifests"]
    manifest = blob(manifest)
    (layer,) = manifest["layers"]
    config = blob(manifest["config"])["config"]
    content = layout.extractfile(f"./blobs/{layer['digest'].replace(':', '/')}")
    with tarfile.open(fileobj=content) as files:
        owners = {file.name: (file.uid, oct(file.mode & 0o777)) for file in files}

assert config["Entrypoint"] == ["/tara-export"] and config["Cmd"] == ["serve"], config
assert config["User"] == "65532:65532" and "/data" in config["Volumes"], config
assert owners["tara-export"] == (0, "0o755"), owners
assert owners["data"][0] == 65532, owners
assert "etc/ssl/certs/ca-certificates.crt" in owners, owners

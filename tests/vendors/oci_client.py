"""Pushes and pulls a WebAssembly component as tools that follow the common layout do, with the `oras` package.

oci_client.py push REFERENCE FILE CONFIG      one layer application/wasm, CONFIG as application/vnd.wasm.config.v0+json
oci_client.py pull REFERENCE FOLDER           prints the manifest, writes the layers
"""

import json
import sys

import oras.client

client = oras.client.OrasClient(insecure=True, tls_verify=False)
command, reference, path = sys.argv[1:4]
if command == "push":
    client.push(
        target=reference,
        files=[f"{path}:application/wasm"],
        manifest_config=f"{sys.argv[4]}:application/vnd.wasm.config.v0+json",
        disable_path_validation=True,
    )
else:
    client.pull(target=reference, outdir=path)
    container = client.get_container(reference)
    print(json.dumps(client.get_manifest(container)))

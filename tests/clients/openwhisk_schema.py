"""Amends OpenWhisk's own description of its API by what it lacks, and lets schemathesis try it on a proxy.

Arguments: the proxy's URL, a user:password of it. Says what schemathesis says, and fails as it does.
"""

import json
import os
import pathlib
import sys
import tempfile

from schemathesis.cli import schemathesis

url, credentials = sys.argv[1:]
source = pathlib.Path(__file__).with_name("openwhisk_apiv1swagger.json")
document = json.loads(source.read_text())

# Statuses that it does not name, though OpenWhisk answers them.
refusals = {
    "400": "The request cannot be understood",
    "403": "The namespace is another caller's",
    "413": "The body is too large",
    "503": "Nothing can be stored at the moment",
}
# Ranges that it has only in words.
ranges = {"limit": (0, 200), "skip": (0, 2**31 - 1), "timeout": (1, 60_000)}

for path in document["paths"].values():
    for method, operation in path.items():
        if method == "parameters":
            continue
        for status, description in refusals.items():
            schema = {"$ref": "#/definitions/ErrorMessage"}
            operation["responses"].setdefault(status, {"description": description, "schema": schema})
        for parameter in operation.get("parameters", []):
            if parameter["name"] in ranges:
                parameter["minimum"], parameter["maximum"] = ranges[parameter["name"]]

# What the document does not know is ignored here, as it is by OpenWhisk.
settings = """
[generation]
allow-extra-parameters = false
with-security-parameters = false
"""

with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    pathlib.Path("openwhisk.json").write_text(json.dumps(document))
    pathlib.Path("schemathesis.toml").write_text(settings)
    schemathesis(
        ["run", "openwhisk.json", "--url", f"{url}/api/v1", "--auth", credentials]
        + ["--seed", "7", "--max-examples", "20", "--no-color", "--generation-database", "none"]
    )

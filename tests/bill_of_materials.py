#!/usr/bin/env python3
"""The bill of materials of what is deployed, as CycloneDX 1.6: every crate that the functions link, with version, licence and the
checksum of Cargo.lock. Read from `cargo metadata`; checked against CycloneDX's own schema.

usage: bill_of_materials.py OUT.json FUNCTION…
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.validation.json import JsonStrictValidator
from cyclonedx.schema import SchemaVersion
from packageurl import PackageURL


def main():
    out, functions = Path(sys.argv[1]), sys.argv[2:]
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", "aarch64-unknown-linux-gnu"]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    lock = tomllib.loads(Path("Cargo.lock").read_text())
    checksums = {(package["name"], package["version"]): package.get("checksum") for package in lock["package"]}

    def linked(name):
        """What a package links, itself first: neither build scripts' nor tests' dependencies."""
        waiting = [package["id"] for package in packages.values() if package["name"] == name and package["source"] is None]
        assert waiting, f"there is no package {name}"
        seen = {}
        while waiting:
            found = waiting.pop()
            if found not in seen:
                normal = [dep["pkg"] for dep in nodes[found]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]
                seen[found] = normal
                waiting.extend(normal)
        return seen

    bom, licences, components, links = Bom(), LicenseFactory(), {}, {}
    for function in functions:
        links |= linked(function)
    for identity in links:
        package = packages[identity]
        name, version = package["name"], package["version"]
        checksum = checksums.get((name, version))
        components[identity] = Component(
            name=name, version=version, type=ComponentType.APPLICATION if name in functions else ComponentType.LIBRARY,
            bom_ref=f"{name}@{version}", purl=PackageURL("cargo", None, name, version),
            licenses=[licences.make_with_expression(package["license"].replace("/", " OR "))] if package["license"] else [],
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=checksum)] if checksum else [])
    for identity, component in components.items():
        bom.components.add(component)
        bom.register_dependency(component, [components[dep] for dep in links[identity]])
    text = JsonV1Dot6(bom).output_as_string(indent=1)
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert wrong is None, wrong
    unsigned = [c.name for c in components.values() if not c.hashes and packages_of(metadata, c.name)["source"] is not None]
    assert not unsigned, f"without a checksum: {unsigned}"
    out.write_text(text)
    print(f"{out}: {len(components)} crates of {len(functions)} functions")


def packages_of(metadata, name):
    return next(package for package in metadata["packages"] if package["name"] == name)


main()

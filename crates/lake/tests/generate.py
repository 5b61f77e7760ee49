"""Writes a cohort as NDJSON and as Bundles, and prints what a reader should find in it."""

import json
import sys
from pathlib import Path

import carebundle

folder = Path(sys.argv[1])
bundles = carebundle.generate_cohort(count=25, seed=7)
(folder / "ndjson").mkdir()
(folder / "bundles").mkdir()
streams = carebundle.to_ndjson(bundles)
for name, text in streams.items():
    (folder / "ndjson" / f"{name}.ndjson").write_text(text, encoding="utf-8")
for number, bundle in enumerate(bundles):
    path = folder / "bundles" / f"{number:03}.json"
    path.write_text(carebundle.to_json(bundle), encoding="utf-8")

observations = [json.loads(line) for line in streams["Observation"].splitlines()]


def codes(concepts):
    return {coding.get("code") for concept in concepts for coding in concept.get("coding", [])}


laboratory = [
    one
    for one in observations
    if "laboratory" in codes(one.get("category", [])) and "valueQuantity" in one
]
patients = [json.loads(line)["id"] for line in streams["Patient"].splitlines()]


def rows(patient):
    return [
        [one["code"]["coding"][0]["code"], json.dumps(one["valueQuantity"]["value"])]
        for one in laboratory
        if one["subject"]["reference"] == f"Patient/{patient}"
    ]


in_lab = [one for one in observations if "laboratory" in codes(one.get("category", []))]
print(
    json.dumps(
        {
            "patients": len(patients),
            "first": patients[0],
            "laboratory": len(in_lab),
            "conditions": len(streams["Condition"].splitlines()),
            "rows": rows(patients[0]),
        }
    )
)

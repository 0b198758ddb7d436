"""What is sent to the addresses that take a form or a draft."""

WIRE = {"answers": "answers", "marks": [], "active_ms": 1000, "revision": 0, "client": "c", "key": "key"}
SOURCE = {"kind": "upload", "name": "Door 2", "privacy": "full", "active": "on"}
PEER = {"name": "PACS 2", "ae_title": "PACS2", "host": "h", "port": "104", "kind": "dimse", "wants": ["sr"]}
PACS = {"name": "Peer 2", "ae_title": "PEER2", "port": "104", "privacy": "full", "most_associations": "1",
        "idle_seconds": "60", "priors": "0"}  # fmt: skip
SENDER = {"name": "Sender 2", "addresses": "10.0.0.1", "privacy": "full", "most_connections": "1", "idle_seconds": "60"}
RULE = {"name": "Rule 2", "match": "PatientID = (.*)", "assign": "Modality = MG", "order": "5"}
LINE = {"row": "pixel_question", "do": "cover"}
OUT = {"to": "out_of_service"}
